"""Made-up markets whose best possible policy is known: learners are measured against it.

Each market's next return depends on a state the agent sees, plus noise nobody can know. Costs are proportional, the
open equals the close before, nothing is rounded. The best policy then follows from dynamic programming.
"""

from agents.proof_markets.markets import PROOF_MARKETS, ProofMarket, noise
from agents.proof_markets.optimum import Optimum, solve

__all__ = ["PROOF_MARKETS", "Optimum", "ProofMarket", "noise", "solve"]
