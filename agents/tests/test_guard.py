import numpy as np
import pytest
import torch

from agents.learners.guard import Guard, TrainingDiverged, input_names

COLUMNS = input_names(("rsi_14", "macd"), ("weight",), window=2)


def test_columns_are_named_oldest_first_then_the_agents_own():
    assert COLUMNS == ("rsi_14 1 bar before", "macd 1 bar before", "rsi_14", "macd", "weight")


def test_sound_numbers_pass():
    guard = Guard(COLUMNS)
    guard.observations(np.zeros((3, 2, 5)), 7)
    guard.rewards(np.full((3, 2), 1e30, np.float32), 7)
    guard.losses({"value_loss": 1e9}, 7)
    guard.weights(torch.nn.Linear(2, 2), 7)


def test_large_numbers_whose_sum_overflows_are_no_alarm():
    Guard().rewards(np.full(1_000, 3e38, np.float32), 7)


def test_an_input_is_named():
    rows = np.zeros((3, 2, 5), np.float32)
    rows[1, 0, 3] = np.nan
    with pytest.raises(TrainingDiverged, match="observation macd became NaN after 7 steps; repair its bars"):
        Guard(COLUMNS).observations(rows, 7)
    rows[1, 0, 3] = np.inf
    with pytest.raises(TrainingDiverged, match="observation macd became infinite"):
        Guard(COLUMNS).observations(rows, 7)
    with pytest.raises(TrainingDiverged, match="observation in column 3"):
        Guard().observations(rows, 7)


def test_a_reward_a_loss_and_a_weight_are_named():
    guard = Guard()
    with pytest.raises(TrainingDiverged, match="reward became NaN after 9 steps"):
        guard.rewards(np.array([0.0, np.nan]), 9)
    with pytest.raises(TrainingDiverged, match="loss value_loss became NaN after 9 steps; lower the learning rate"):
        guard.losses({"entropy": 1.0, "value_loss": float("nan")}, 9)
    layer = torch.nn.Sequential(torch.nn.Linear(2, 2))
    with torch.no_grad():
        layer[0].bias[1] = float("inf")
    with pytest.raises(TrainingDiverged, match=r"weight 0\.bias became NaN or infinite after 9 steps"):
        guard.weights(layer, 9)
