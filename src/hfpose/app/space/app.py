"""hfpose as a Space of the Hugging Face Hub; the settings are variables of the Space."""

import os

from hfpose.app import build_app, launch
from hfpose.app.interface import MODELS

models = os.environ.get("HFPOSE_APP_MODELS", ",".join(MODELS)).split(",")
demo = build_app(models)

if __name__ == "__main__":
    launch(demo, host="0.0.0.0")  # a Space is behind a proxy of the Hub
