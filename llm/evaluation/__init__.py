"""What a trained policy is: win rates, distance from the reference, margins, lengths, texts, failures in words.

Shapes: m evaluation prompts, s samples of the reference a prompt, n held-out pairs. Rewards and log-probabilities are
float64 arrays, natural logarithms. Intervals are 95 % ones, over prompts: responses to one prompt are not independent.
"""

from llm.evaluation.evaluate import EvaluationSet, Findings, evaluate
from llm.evaluation.win_rate import WinRate, win_rate

__all__ = ["EvaluationSet", "Findings", "WinRate", "evaluate", "win_rate"]
