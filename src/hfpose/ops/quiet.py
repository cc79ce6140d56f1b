"""Keeping libraries silent where their words are of no use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from logging import ERROR, LogRecord, getLogger

from transformers.utils import logging


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """No progress bars of transformers, which it draws for weights that load or are written in no time."""
    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()


@contextmanager
def without_warnings_of(name: str) -> Iterator[None]:
    """Nothing but errors of a logger, the root for an empty name: what it warns of was asked for."""
    logger = getLogger(name)
    level = logger.level
    logger.setLevel(ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def without_load_report() -> Iterator[None]:
    """No table of the tensors that a file has and a model lacks, or the other way around: the caller tells of them."""
    logger = getLogger("transformers.modeling_utils")
    logger.addFilter(_is_no_report)
    try:
        yield
    finally:
        logger.removeFilter(_is_no_report)


def _is_no_report(record: LogRecord) -> bool:
    return "LOAD REPORT" not in record.getMessage()
