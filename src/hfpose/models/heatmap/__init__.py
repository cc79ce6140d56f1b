"""Any backbone with a heatmap head (Xiao et al., 2018, https://arxiv.org/abs/1804.06208)."""
