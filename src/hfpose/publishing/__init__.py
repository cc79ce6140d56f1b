"""Model cards, and uploads of converted models and pipelines to the Hub."""
