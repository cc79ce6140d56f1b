from __future__ import annotations

import numpy as np
import pytest

from hfpose.ops.foot_contacts import hold_feet, lock_feet, without_short_runs
from walking import stepping_feet

RATE = 25.0
TIMES = np.arange(100) / RATE


def placed_feet(feet: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Feet (T, F, 2) of a person who was moved and whose legs were bent, and where they stand."""
    shift, contacts = lock_feet(feet, TIMES)
    feet = feet + np.pad(shift, ((0, 0), (0, 1)))[:, None]
    hips = np.broadcast_to(np.add(feet.mean(1, keepdims=True), (0, 0, 0.8)), feet.shape)
    knees = np.add((hips + feet) / 2, (0, 0.1, 0))
    return hold_feet(np.stack((hips, knees, feet), axis=2), contacts, TIMES)[:, :, 2, :2], contacts


def test_feet_that_stand_are_found_and_stay() -> None:
    feet, standing = stepping_feet(TIMES)
    rng = np.random.default_rng(0)
    slips = np.cumsum(rng.normal(0, 0.4 / RATE, (100, 2)), axis=0)  # of the person, whose place is known less well
    seen = feet.copy()
    seen[..., :2] += slips[:, None]
    found, contacts = placed_feet(seen)
    firm = contacts[1:] & contacts[:-1]
    assert np.linalg.norm(np.diff(found, axis=0), axis=-1)[firm].mean() * RATE < 0.05
    assert (contacts == standing).mean() > 0.85
    way, expected = (np.ptp(each[..., 1]) for each in (found, feet))
    assert way == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(("rise", "slowest", "recall"), [(0, 0.1, 0.95), (0.08, 0.25, 0.9)])
def test_feet_of_who_runs_stand_though_they_seem_to_move(rise: float, slowest: float, recall: float) -> None:
    feet, standing = stepping_feet(TIMES, stride=2.4, period=0.72, stance=0.3)
    seen, way = feet.copy(), 2.4 / 0.72 * TIMES[:, None]
    seen[..., 1] = way + 0.8 * (feet[..., 1] - way)  # lifters take swings for shorter than they are
    seen[30:70, :, 2] += rise  # and the ground does not seem to be level
    found, contacts = placed_feet(seen)
    speeds = [
        np.linalg.norm(np.gradient(each[..., :2], TIMES, axis=0), axis=-1)[standing].mean() for each in (seen, found)
    ]
    assert speeds[0] > 0.7 and speeds[1] < slowest
    assert contacts[standing].mean() > recall and contacts[~standing].mean() < 0.2
    assert (~contacts).all(1).any()  # both feet in the air
    assert np.ptp(found[:, :, 1].mean(1)) == pytest.approx(np.ptp(feet[:, :, 1].mean(1)), rel=0.05)


def test_a_foot_that_seems_higher_than_the_other_stands_too() -> None:
    feet, standing = stepping_feet(TIMES, stride=2.4, period=0.72, stance=0.3)
    feet[:, 1, 2] += 0.07
    _, contacts = placed_feet(feet)
    assert contacts[standing[:, 1], 1].mean() > 0.9 and contacts[~standing].mean() < 0.2


def test_a_standing_foot_that_slides_against_the_other_is_held() -> None:
    hip, knee, foot = (0, 0, 0.9), (0, -0.1, 0.45), (0, 0, 0.0)
    legs = np.tile(np.array([hip, knee, foot]), (100, 2, 1, 1))
    legs[:, :, 2, 0] += 0.05 * np.sin(2 * np.pi * TIMES[:, None] * (1, -1))
    contacts = np.zeros((100, 2), bool)
    contacts[10:40], contacts[60:90, 0] = True, True
    held = hold_feet(legs, contacts, TIMES)
    feet = held[:, :, 2]
    assert all(np.ptp(feet[part], axis=0).max() < 1e-9 for part in (slice(10, 40), (slice(60, 90), 0)))
    assert np.abs(np.diff(feet[:, 0], axis=0)).max() < 0.03  # no jumps
    bones, expected = (np.linalg.norm(np.diff(each, axis=2), axis=-1) for each in (held, legs))
    np.testing.assert_allclose(bones, expected, atol=1e-9)
    np.testing.assert_allclose(held[:, :, 0], legs[:, :, 0])
    np.testing.assert_allclose(hold_feet(legs, np.zeros_like(contacts), TIMES), legs, atol=1e-9)


def test_a_foot_that_is_out_of_reach_is_held_as_near_as_the_leg_reaches() -> None:
    legs = np.tile(np.array([(0, 0, 0.9), (0, 0, 0.45), (0, 0, 0.0)]), (100, 1, 1, 1))
    legs[:, 0, :, 1] += np.linspace(0, 1, 100)[:, None]
    held = hold_feet(legs, np.ones((100, 1), bool), TIMES)
    assert np.isfinite(held).all()
    np.testing.assert_allclose(np.linalg.norm(np.diff(held, axis=2), axis=-1), 0.45, atol=1e-9)


@pytest.mark.filterwarnings("error")
def test_legs_that_are_missing_or_flat_do_not_spoil_others() -> None:
    legs, contacts = np.zeros((20, 2, 3, 3)), np.ones((20, 2), bool)
    assert not hold_feet(legs, contacts, TIMES[:20]).any()
    legs[5, 0] = np.nan
    assert np.flatnonzero(np.isnan(hold_feet(legs, contacts, TIMES[:20])).any((1, 2, 3))).tolist() == [5]


def test_who_flies_is_left_alone() -> None:
    feet = np.zeros((50, 2, 3))
    feet[..., 1], feet[..., 2] = np.arange(50)[:, None] * 0.1, 0.5
    shift, contacts = lock_feet(feet, TIMES[:50])
    assert not contacts.any() and np.abs(shift).max() < 1e-6


def test_short_contacts_and_breaks_go() -> None:
    contacts = np.zeros((30, 1), bool)
    contacts[5:15] = True
    contacts[9] = False
    contacts[20] = True
    kept = without_short_runs(contacts, np.arange(30) / RATE)
    assert np.flatnonzero(kept[:, 0]).tolist() == list(range(5, 15))
