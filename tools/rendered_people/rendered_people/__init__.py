"""Rendered people: images and clips of articulated figures with exact labels, made from a seed.

They are for demonstrations, tests and pretraining, not a stand-in for photographs.
"""

from rendered_people.scenes import Scene, render_clip, render_scene, scene_annotations

__all__ = ["Scene", "render_clip", "render_scene", "scene_annotations"]
