"""Model families: one folder each, with configuration, modeling, image processing and conversion."""
