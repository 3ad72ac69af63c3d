"""What training's technical names are called on pages, each with one plain sentence."""

from __future__ import annotations

import re

NETWORKS = {
    "mlp": ("MLP", "Layers of plain neurons; looks at one bar. Fast, and the usual choice."),
    "lstm": ("LSTM", "Reads the last bars in order and remembers what mattered."),
    "tcn": ("Temporal convolution", "Looks for shapes in the last bars, on several time scales."),
    "ane": ("Transformer (ANE)", "Weighs the last bars against each other; its attention can be looked at."),
    "recurrent": ("LSTM with memory", "Carries its memory from bar to bar through the whole episode."),
}
ACTIONS = {
    "choice": ("Hold, buy or sell", "All in or all out."),
    "steps": ("Nine steps", "Hold, or buy or sell a quarter, half, three quarters or all."),
    "target": ("Target position", "Any share of its limit, finely graded."),
}
SAMPLERS = {
    "tpe": ("TPE", "Learns from every trial where the next is worth it. The usual choice."),
    "nsga2": ("Genetic (NSGA-II)", "Breeds settings for three aims at once: Sharpe, drawdown and turnover."),
}
EPISODES = {
    "random": ("Random windows", "Random: each begins at any bar."),
    "fixed": ("Fixed windows", "Fixed: any of equal windows side by side."),
    "chronological": ("In order", "In order: these windows one after the other."),
}
PRUNERS = {
    "hyperband": ("Hyperband", "Compares trials at several ages. The usual choice."),
    "median": ("Below the median", "Ends what falls below the middle of those before it."),
    "none": ("None", "Every trial is carried out to its end."),
}
# Parts of the reward, as environment/rewards.py names them, and what each does at a bar.
REWARDS = {
    "net_return": ("Net return", "Change of equity after all costs."),
    "log_return": ("Log return", "Its logarithm: losses weigh more."),
    "drawdown": ("Deeper drawdown", "Falling further below the peak costs."),
    "volatility": ("Volatility", "Swings of the account cost."),
    "cost": ("Trading costs", "Paid once more on top of the net return."),
    "differential_sharpe": ("Sharpe ratio", "What the bar adds to the running ratio."),
    "differential_downside": ("Sortino ratio", "Likewise, with losses alone as the risk."),
    "holding": ("Holding", "Old positions cost, by bar and size."),
    "consistency": ("Change of mind", "Trembling between target positions costs."),
}
REWARD_KINDS = {
    "net_return": ("Net return as it is", "The usual choice."),
    "risk_adjusted": ("Net return by volatility", "The net return is divided by the running volatility."),
}
BACKENDS = {"cpu": "CPU", "cuda": "GPU", "tpu": "TPU"}
LOSSES = {
    "policy_gradient_loss": "policy", "policy_loss": "policy", "actor_loss": "policy", "value_loss": "value",
    "critic_loss": "value", "entropy_loss": "entropy", "entropy": "entropy",
    "ent_coef_loss": "loss of the entropy weight", "ent_coef": "entropy weight", "approx_kl": "change of the policy",
    "clip_fraction": "updates cut off", "td_error": "surprise", "q_loss": "value", "loss": "loss",
}  # fmt: skip
PARAMETERS = {
    "width": "Neurons per layer", "depth": "Layers", "gamma": "Discount", "ent_coef": "Entropy weight",
    "penalty": "Penalty weight", "drop": "Left out", "tau": "Speed of the target", "n_steps": "Steps per round",
    "gae_lambda": "Advantage decay", "clip_range": "Largest change", "batch_size": "Batch",
}  # fmt: skip
PART = re.compile(r"([a-z]+)(?:-(\d+))?$")


def name_of(table: dict[str, tuple[str, str]], key: str) -> str:
    """The name on pages; an unknown key as it is."""
    return table.get(key, (key, ""))[0]


def parameter_words(name: str) -> str:
    """What a study's parameter is called; exports keep the technical name."""
    return PARAMETERS.get(name) or _plain(name).capitalize()


def part_words(part: str) -> str:
    """What was learning: trial-3/fold-1/seed-0 is "trial 4, fold 2, seed 1"; people count from one."""
    words = []
    for piece in part.split("/"):
        match = PART.match(piece)
        kind, number = match.groups() if match else (piece, None)
        if kind == "final":
            words.append("final model")
        elif number is None:
            words.append(piece)
        else:
            words.append(f"{kind} {int(number) + 1}")
    return ", ".join(words)


def series_words(name: str) -> str:
    """What a line of a chart is called: loss/value_loss is "value"."""
    group, _, rest = name.partition("/")
    if not rest:
        return {"episode_return": "return per episode", "steps_per_second": "steps a second"}.get(name, _plain(name))
    return LOSSES.get(rest, _plain(rest)) if group == "loss" else _plain(rest)


def _plain(name: str) -> str:
    return name.replace("_", " ").replace("/", " ")
