"""Measured numbers in model cards."""

from __future__ import annotations

from hfpose.hub.card_results import add_results


def test_a_folder_without_a_card_gets_one(tmp_path):
    add_results(tmp_path, "val.json", "annotated boxes", {"AP": 0.81234, "APL": float("nan"), "EPE": 12.5})
    text = (tmp_path / "README.md").read_text()
    assert text.startswith(f"# {tmp_path.name}\n")
    assert "- val.json, annotated boxes: AP 0.812, EPE 12.500\n" in text


def test_numbers_are_replaced_and_the_rest_of_the_card_stays(tmp_path):
    card = tmp_path / "README.md"
    card.write_text("# Mine\n\nText above.\n")
    add_results(tmp_path, "val.json", "annotated boxes", {"AP": 0.1})
    card.write_text(card.read_text() + "\n## License\n\nText below.\n")
    add_results(tmp_path, "val.json", "detected boxes", {"AP": 0.2})
    add_results(tmp_path, "val.json", "annotated boxes", {"AP": 0.3})
    text = card.read_text()
    assert text.startswith("# Mine\n\nText above.\n") and text.endswith("## License\n\nText below.\n")
    assert [line for line in text.splitlines() if line.startswith("- ")] == [
        "- val.json, detected boxes: AP 0.200",
        "- val.json, annotated boxes: AP 0.300",
    ]
