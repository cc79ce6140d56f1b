"""SSDLite with MobileNetV2 (Sandler et al., 2018, https://arxiv.org/abs/1801.04381)."""
