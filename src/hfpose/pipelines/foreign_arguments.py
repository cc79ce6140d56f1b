"""What to write in place of arguments that other libraries have."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

_BOX_SCORE = "Did you mean 'box_threshold', the minimum score of a box?"
_KEYPOINT_SCORE = "Did you mean 'keypoint_threshold', the minimum score of a keypoint that is drawn?"
_IOU = "Did you mean 'nms_threshold', the IoU above which the worse of two boxes goes?"
_BOXES = "Did you mean 'boxes', a list of x1, y1, x2, y2 for each image?"
_PEOPLE = "Did you mean 'people', which keeps so many of the largest?"
_INPUTS = "The inputs stand first, without a name."
_OF_PIPELINE = "It belongs to the making of a pipeline: hfpose.pipeline(..., {})."
_DTYPE = _OF_PIPELINE.format('dtype="float16"')
_DRAWING = "How results are drawn is said there: people.draw(...), people.save(path, ...), or drawing={...} of a call."
_FILES = "Write results by people.save(path), or all of an input's by `hfpose predict INPUT --out-dir OUT`."
_TRACK = "Did you mean 'track', which is True or the name of a tracker?"
_SIZE = "A model has the size of its input in its image processor, and images of any size are scaled to it."

OF_CALLS: Mapping[str, str] = {
    **dict.fromkeys(
        ("conf", "threshold", "score_thr", "score_threshold", "bbox_thr", "det_thr", "det_score_thr"), _BOX_SCORE
    ),
    **dict.fromkeys(("detection_threshold", "box_score_threshold", "confidence", "min_confidence"), _BOX_SCORE),
    **dict.fromkeys(("kpt_thr", "kpt_threshold", "pose_thr", "pose_threshold", "kpt_conf"), _KEYPOINT_SCORE),
    **dict.fromkeys(("iou", "nms_thr", "iou_threshold", "overlap"), _IOU),
    **dict.fromkeys(("bboxes", "dets", "bbox", "rois"), _BOXES),
    **dict.fromkeys(("max_det", "max_instances", "num_people", "max_people", "top_k"), _PEOPLE),
    **dict.fromkeys(("images", "image", "img", "source", "imgs"), _INPUTS),
    **dict.fromkeys(("half", "fp16", "precision", "dtype", "torch_dtype"), _DTYPE),
    "device": _OF_PIPELINE.format('device="cuda"'),
    **dict.fromkeys(("classes", "det_cat_ids", "labels"), _OF_PIPELINE.format('detector_labels=["person"]')),
    **dict.fromkeys(("detector", "det_model"), _OF_PIPELINE.format("detector=...")),
    "backend": _OF_PIPELINE.format('backend="onnxruntime"'),
    **dict.fromkeys(
        ("draw_bbox", "radius", "thickness", "line_width", "show_conf", "show_labels", "show_boxes", "skeleton_style"),
        _DRAWING,
    ),
    **dict.fromkeys(
        ("save", "save_txt", "save_dir", "out_dir", "output_dir", "project", "vis_out_dir", "pred_out_dir"), _FILES
    ),
    **dict.fromkeys(("tracker", "persist", "tracking_mode"), _TRACK),
    "use_oks_tracking": "Did you mean track='oks'?",
    **dict.fromkeys(("imgsz", "size", "input_size"), _SIZE),
    "show": "Results have people.show(); for videos there is `hfpose predict INPUT --show`.",
    "stream": "Videos, folders, streams and generators give their results lazily anyway; a list does as a generator.",
    "batch": "Did you mean 'batch_size'?",
    "augment": "Did you mean 'flip_test'?",
    **dict.fromkeys(("det_frequency", "vid_stride"), "Did you mean 'detect_every'?"),
    "return_datasamples": "A result is a PoseOutput; hfpose.compat.mmpose gives MMPose's.",
    "verbose": "A call prints nothing; leave it out.",
    "return_tensors": "A result has numpy arrays; torch.from_numpy makes tensors of them.",
}
"""By names that calls of MMPose's, rtmlib's, Ultralytics' and transformers' pipelines take: what to write here."""

_NO_CODE_NEEDED = "Models load without it; leave it out."

OF_PIPELINES: Mapping[str, str] = {
    **dict.fromkeys(("det_model", "det", "detection_model"), "Did you mean 'detector'?"),
    **dict.fromkeys(("pose_model", "pose2d"), "Did you mean 'model'?"),
    "pose3d": "Did you mean task 'pose-estimation-3d', with 'model' or 'lifter'?",
    **dict.fromkeys(("pose2d_weights", "weight", "checkpoint"), "Did you mean 'weights'?"),
    "det_weights": "Did you mean 'detector_weights'?",
    **dict.fromkeys(("det_cat_ids", "classes"), "Did you mean 'detector_labels'?"),
    **dict.fromkeys(("feature_extractor", "processor"), "Did you mean 'image_processor'?"),
    **dict.fromkeys(("half", "fp16", "precision"), "Did you mean dtype='float16'?"),
    "onnx": "Did you mean backend='onnxruntime'?",
    **dict.fromkeys(("low_cpu_mem_usage", "use_safetensors", "framework", "tokenizer"), _NO_CODE_NEEDED),
    "attn_implementation": "Give it in model_kwargs={...}, whose items go to from_pretrained of the model.",
    "cache_dir": "Set the environment variable HF_HOME before Python starts.",
    "local_files_only": "Set the environment variable HF_HUB_OFFLINE=1 before Python starts.",
    "to_openpose": "Drawing has it: people.draw(skeleton_style='openpose').",
    "boxes": "Boxes are of images, so they belong to a call of the pipeline.",
}
"""The same of what makes such pipelines."""


def suggestion(name: str, known: Sequence[str], foreign: Mapping[str, str]) -> str:
    """What to write in place of an unknown argument, as a sentence.

    Args:
        foreign: names of other libraries, with the sentence for each.
    """
    if name in foreign:
        return foreign[name]
    near = difflib.get_close_matches(name, known, 1)
    return f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(known)}."
