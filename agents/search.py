"""What a study may vary: ranges per algorithm, and how settings narrow them. Pure."""

from typing import Any, TypeGuard

# A range is {"low", "high"} with optional "log", or {"choices"}. `penalty` multiplies the reward's penalties.
SPACES: dict[str, dict[str, dict[str, Any]]] = {
    "ppo": {
        "learning_rate": {"low": 1e-4, "high": 1e-3, "log": True},
        "width": {"choices": [16, 32, 64]},
        "gamma": {"choices": [0.8, 0.9, 0.95]},
        "ent_coef": {"low": 1e-3, "high": 2e-2, "log": True},
        "penalty": {"low": 0.5, "high": 2.0, "log": True},
    },
    "sac": {
        "learning_rate": {"low": 3e-4, "high": 3e-3, "log": True},
        "width": {"choices": [16, 32, 64]},
        "gamma": {"choices": [0.8, 0.9, 0.95]},
        "ent_coef": {"low": 0.02, "high": 0.3, "log": True},
        "penalty": {"low": 0.5, "high": 2.0, "log": True},
    },
}


def search_space(algorithm: str, replacements: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The algorithm's ranges, with those of the settings in their place. A single value fixes a parameter.

    Raises: ValueError naming a parameter that is unknown or whose range makes no sense.
    """
    space = dict(SPACES[algorithm])
    for name, wanted in replacements.items():
        if name not in space:
            raise ValueError(f"unknown parameter {name!r}; known: {', '.join(space)}")
        space[name] = _checked(name, wanted)
    return space


def suggest(trial: Any, space: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Draw one value per parameter. trial: an optuna.Trial, or anything with its suggest functions."""
    return {name: _draw(trial, name, span) for name, span in space.items()}


def _draw(trial: Any, name: str, span: dict[str, Any]) -> Any:
    if "choices" in span:
        return trial.suggest_categorical(name, span["choices"])
    return trial.suggest_float(name, span["low"], span["high"], log=bool(span.get("log", False)))


def _checked(name: str, wanted: Any) -> dict[str, Any]:
    if _number(wanted):
        return {"choices": [wanted]}
    if isinstance(wanted, dict):
        choices, low, high = wanted.get("choices"), wanted.get("low"), wanted.get("high")
        if isinstance(choices, list) and choices and all(_number(choice) for choice in choices):
            return {"choices": choices}
        if _number(low) and _number(high) and low <= high:
            return {"low": low, "high": high, "log": bool(wanted.get("log", False))}
    raise ValueError(
        f'{name}: got {wanted!r}, expected a number, {{"low": 0.1, "high": 0.5}} above 0, or {{"choices": [...]}}'
    )


def _number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
