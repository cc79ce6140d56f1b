"""An error analysis as one HTML file: tables, bars, curves and the worst images, without scripts and network."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hfpose.annotations import AnnotatedImage, CocoFile
from hfpose.errors import InputError
from hfpose.evaluation.error_analysis import KINDS, UNLABELED, ErrorAnalysis
from hfpose.media.files import write_json, write_text
from hfpose.media.images import load_image
from hfpose.results import PoseOutput
from hfpose.visualization.poses import draw_poses

# Images that are drawn, and the longer side of each in pixels.
WORST_IMAGES, IMAGE_SIDE = 12, 640

# By kind of error, told apart by people who see no red or green (Okabe and Ito).
COLORS = dict(zip(KINDS, ("#009e73", "#f0e442", "#e69f00", "#cc79a7", "#d55e00", "#666666"), strict=True))
CURVE_COLORS = ("#000000", "#d55e00", "#cc79a7", "#e69f00", "#b5a800", "#56b4e9", "#0072b2", "#009e73")

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222;
  background: #fff; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
td, th { padding: .15rem .7rem; text-align: right; } td:first-child { text-align: left; white-space: nowrap; }
.bar { display: flex; width: 18rem; max-width: 30vw; height: 1rem; }
.bar i, .key { display: inline-block; height: 1rem; }
.key { width: 1rem; margin: 0 .3rem 0 1rem; vertical-align: -.15rem; }
figure { margin: 1rem 0; } img, svg { max-width: 100%; }
"""


def write_error_report(folder: Path, analysis: ErrorAnalysis, coco: CocoFile, title: str) -> None:
    """Write `analysis.json` and `analysis.html`, where images that cannot be read are named in the place of their
    drawing. `title` is its heading, such as the model and the data.
    """
    heading, legend, images = html.escape(title), _legend(COLORS), {image.id: image for image in coco.images}
    parts = [
        "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'>",
        f"<meta name='viewport' content='width=device-width'><title>{heading}</title><style>{_STYLE}</style></head>",
        f"<body><h1>{heading}</h1>{_summary(analysis)}<h2>What mending each kind of error would "
        f"give</h2>{_gains(analysis)}",
        "<p>Precision over recall at OKS 0.75, each kind of error mended together with those before.</p>",
        _curves(analysis.curves),
        f"<h2>Kinds of keypoints</h2><p>{legend}</p>",
        _bars(analysis, {"all": np.ones_like(analysis.kinds, dtype=bool)}),
        f"<h3>By keypoint</h3>{_bars(analysis, analysis.keypoint_masks)}",
        *(f"<h3>By {name}</h3>{_bars(analysis, masks)}" for name, masks in analysis.groups.items()),
        "<h2>Worst images</h2><p>As annotated on the left, as found on the right.</p>",
        *(_drawn(images[image_id], analysis) for image_id in analysis.worst_images(WORST_IMAGES)),
        "</body></html>",
    ]
    write_json(folder / "analysis.json", analysis.to_dict())
    write_text(folder / "analysis.html", "\n".join(parts) + "\n")


def _summary(analysis: ErrorAnalysis) -> str:
    lost, wrong = int((analysis.matches < 0).sum()), len(analysis.false_positives)
    return (
        f"<p>AP {analysis.average_precision:.4f}; {len(analysis.kinds)} annotated instances, of which {lost} were not "
        f"found (false negatives); {len(analysis.results)} results, of which {wrong} are no instance (false "
        "positives).</p>"
    )


def _number(value: float, form: str) -> str:
    """A number for a table; nothing for NaN."""
    return "" if np.isnan(value) else format(value, form)


def _gains(analysis: ErrorAnalysis) -> str:
    rows = "".join(
        f"<tr><td>{kind}</td><td>{_number(analysis.mended[kind], '.4f')}</td><td>{_number(gain, '+.4f')}</td></tr>"
        for kind, gain in analysis.gains.items()
    )
    return f"<table><tr><th>without</th><th>AP</th><th>given back</th></tr>{rows}</table>"


def _legend(colors: Mapping[str, str]) -> str:
    return "".join(f"<span class='key' style='background:{color}'></span>{name}" for name, color in colors.items())


def _bars(analysis: ErrorAnalysis, masks: Mapping[str, np.ndarray]) -> str:
    """A table of names, bars of shares, the shares in percent, and how many keypoints these are of."""
    head = "".join(f"<th>{kind} %</th>" for kind in KINDS)
    lines = []
    for name, mask in masks.items():
        shares, count = analysis.shares(mask), int((analysis.kinds[mask] != UNLABELED).sum())
        known = {kind: share for kind, share in shares.items() if count and share > 0}
        bar = "".join(
            f"<i title='{kind}' style='background:{COLORS[kind]};width:{100 * share:.2f}%'></i>"
            for kind, share in known.items()
        )
        cells = "".join(f"<td>{100 * share:.1f}</td>" if count else "<td></td>" for share in shares.values())
        lines.append(
            f"<tr><td>{html.escape(name)}</td><td><div class='bar'>{bar}</div></td>{cells}<td>{count}</td></tr>"
        )
    return f"<table><tr><th></th><th></th>{head}<th>keypoints</th></tr>{''.join(lines)}</table>"


def _curves(curves: Mapping[str, np.ndarray]) -> str:
    """Lines (101,) over recalls from 0 to 1, as SVG."""
    width, height, edge = 560, 360, 40
    ticks = "".join(
        f"<line x1='{edge + x * width}' y1='{edge}' x2='{edge + x * width}' y2='{edge + height}' stroke='#ddd'/>"
        f"<line x1='{edge}' y1='{edge + y * height}' x2='{edge + width}' y2='{edge + y * height}' stroke='#ddd'/>"
        f"<text x='{edge + x * width}' y='{edge + height + 18}' text-anchor='middle'>{x:g}</text>"
        f"<text x='{edge - 6}' y='{edge + y * height + 4}' text-anchor='end'>{1 - y:g}</text>"
        for x, y in zip((0, 0.25, 0.5, 0.75, 1), (0, 0.25, 0.5, 0.75, 1), strict=True)
    )
    lines = "".join(
        f"<polyline fill='none' stroke-width='2' stroke='{color}' points='"
        + " ".join(f"{edge + x * width:.1f},{edge + (1 - y) * height:.1f}" for x, y in _points(values))
        + "'/>"
        for values, color in zip(curves.values(), CURVE_COLORS, strict=True)
    )
    size = f"viewBox='0 0 {width + 2 * edge} {height + 2 * edge}' width='{width + 2 * edge}' font-size='12'"
    legend = _legend(dict(zip(curves, CURVE_COLORS, strict=True)))
    return f"<figure><svg {size}>{ticks}{lines}</svg><figcaption>{legend}</figcaption></figure>"


def _points(values: np.ndarray) -> list[tuple[float, float]]:
    """Values with their place from 0 to 1; none for those that are not known."""
    pairs = zip(np.linspace(0, 1, len(values)).tolist(), values.tolist(), strict=True)
    return [(place, value) for place, value in pairs if np.isfinite(value)]


def _drawn(image: AnnotatedImage, analysis: ErrorAnalysis) -> str:
    name, caption = html.escape(image.path.name), html.escape(_caption(image.id, analysis))
    try:
        pixels = load_image(image.path)
    except InputError as error:
        return f"<p>{name}: {caption}. {html.escape(str(error))}</p>"
    instances = [instance for instance in analysis.instances if instance["image_id"] == image.id]
    results = [result for result in analysis.results if result["image_id"] == image.id]
    both = np.concatenate([_panel(pixels, entries, analysis) for entries in (instances, results)], 1)
    return f"<figure><img alt='{name}' src='{_data_url(both)}'><figcaption>{name}: {caption}</figcaption></figure>"


def _panel(pixels: np.ndarray, entries: Sequence[Mapping[str, Any]], analysis: ErrorAnalysis) -> np.ndarray:
    rows = np.array([entry["keypoints"] for entry in entries]).reshape(len(entries), analysis.schema.num_keypoints, 3)
    output = PoseOutput(rows[..., :2], (rows[..., 2] > 0).astype(np.float32), schema=analysis.schema)
    return draw_poses(pixels, output, color_by="side")


def _caption(image_id: Any, analysis: ErrorAnalysis) -> str:
    rows = [row for row, instance in enumerate(analysis.instances) if instance["image_id"] == image_id]
    counts = np.bincount(analysis.kinds[rows][analysis.kinds[rows] != UNLABELED], minlength=len(KINDS))
    told = [f"{count} {kind}" for kind, count in zip(KINDS[1:], counts[1:].tolist(), strict=True) if count]
    wrong = sum(analysis.results[index]["image_id"] == image_id for index in analysis.false_positives)
    told += [f"{wrong} false positive results"] if wrong else []
    similarities = [f"OKS {', '.join(f'{oks:.2f}' for oks in analysis.oks[rows])}"] if rows else []
    return "; ".join([*similarities, *([", ".join(told)] if told else [])])


def _data_url(pixels: np.ndarray) -> str:
    """A JPEG file, as long as `IMAGE_SIDE` for each of two images, in the text of the page."""
    from PIL import Image

    image, buffer = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail((2 * IMAGE_SIDE, IMAGE_SIDE))
    image.save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
