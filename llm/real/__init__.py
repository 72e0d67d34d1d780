"""A study of a real model: what a run does, said before it is made, for SmolLM2 with adapters.

Design
------
SmolLM2-135M-Instruct (`llm.policy.fetch`), adapters of rank 8 on all seven maps of its two upper layers, Adam at a
constant rate. Two domains. *Titles*: abstracts are prompts, samples of πref the responses, labels Bernoulli by the
words a sample shares with the paper's own title. *HH*: people's pairs of responses that are not πref's, a pair a
prompt, hard labels. Per seed: prompts, samples, labels, the adapters' A and the order are drawn anew; πref is one,
being real. A step takes some prompts with all their pairs. Logistic, squared, exponential and Savage at βκ 0.1 and 0.8
beside the limit β → 0, in which f is a line; and the limit and logistic with A fixed at four times the rate.

What is said before
-------------------
By the linearisation in the adapted weights, and by the tangent of the adapters' parameters, which at B = 0 is that of B
alone (`llm.real.models`), trained by the same loop without a forward pass; from the limit run alone by the scalar laws
(`llm.predicted.tables`). Measured are mean margin, ½E_μ[ρ²], KL and win rate of the tilt, and the chosen's log π, on
the samples trained on, on further samples of πref (of the same prompts), and on other prompts.

What is frozen is computed once
-------------------------------
A seed's prompts and responses stand in trees (`llm.forests.trees`); the 28 lower layers run over them once, and all
runs and steps begin from their states. Of the frozen head's logits nothing is kept (`llm.real.network`).

How big
-------
``small``: 11 runs × 36 steps a seed, four seeds and both domains, some 17 minutes of one core (0.1 s a run, prompt and
step at 100 GFLOP/s, half of it the head). ``full``: 38 runs × 72 steps, five seeds, twice to three times the prompts,
three hours of one core. ``tiny``: a random Llama, seconds.

Power
-----
On study C (`llm.predicted`) E of the mean margin had a standard deviation between seeds of 0.03 to 0.04, between
prompts of one seed (means over 16 samples) of about 0.1. With four seeds of four prompts (titles) or eight (HH) a mean
of E is then known to 2 · √(0.04²/4 + 0.1²/16) = 0.06, an rms of 0.05 is seen as up to 0.1, and of effects below 0.1 the
``small`` preset says nothing; bounds of 0.15 and more, and signs, are what it can decide. Differences of win rates
between losses on the same prompts have a standard deviation of 0.02 a prompt: ±0.01.
"""
