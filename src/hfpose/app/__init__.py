"""An app in the browser: images, videos and a webcam, by any pose model. Needs Gradio and plotly (`hfpose[app]`)."""

from hfpose.errors import HFPoseError

try:
    import gradio  # noqa: F401
    import plotly  # noqa: F401
except ModuleNotFoundError as error:
    raise HFPoseError(f"The app needs {error.name}, which is not installed: pip install 'hfpose[app]'.") from error

from hfpose.app.interface import build_app, launch
from hfpose.app.upload_handling import AppLimits

__all__ = ["AppLimits", "build_app", "launch"]
