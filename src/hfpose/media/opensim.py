"""Files beside markers that OpenSim reads."""

from __future__ import annotations

from collections.abc import Iterable

from hfpose.keypoints.markers import marker_place


def marker_set_text(names: Iterable[str]) -> str:
    """The contents of an OpenSim 4 marker set: where the markers are on Pose2Sim's model.

    Args:
        names: of markers; those that are not on that model are left out.
    """
    lines = ['<?xml version="1.0" encoding="UTF-8" ?>', '<OpenSimDocument Version="40000">']
    lines += ['\t<MarkerSet name="markerset">', "\t\t<objects>"]
    for name in names:
        if (place := marker_place(name)) is not None:
            body, location = place
            lines += [
                f'\t\t\t<Marker name="{name}">',
                f"\t\t\t\t<socket_parent_frame>/bodyset/{body}</socket_parent_frame>",
                f"\t\t\t\t<location>{' '.join(str(value) for value in location)}</location>",
                "\t\t\t\t<fixed>true</fixed>",
                "\t\t\t</Marker>",
            ]
    lines += ["\t\t</objects>", "\t\t<groups />", "\t</MarkerSet>", "</OpenSimDocument>"]
    return "\n".join(lines) + "\n"
