"""Estimators that regress coordinates: DeepPose, residual log-likelihood estimation, integral regression and DSNT."""
