"""Study B: are the losses equal when β is tuned, does the best β move as κ says, and what decides the outcome?

Design
------
Policies are trained from πref by each of the paper's six losses, for βκ from 0.003 to 3 on a log grid (hinge, whose κ
is 0: β itself, marked), on *hard* labels: each pair of a prompt's four samples of πref is compared once, i winning with
chance σ(scale · (r_i − r_j)), r the world's exact reward (`llm.rewards.world`). Two conditions differ in how many
prompts there are, 64 or 512, so some 350 or 2,800 labels, at as many steps: sixteen passes or two. Five seeds, of
the preset ``fresh`` twenty, redraw πref (initial weights, records, demonstrations, order), prompts, samples, labels and
the order of training.

What a policy is judged on
--------------------------
160 prompts that no policy is trained on, in two halves: the best βκ of a loss and seed is chosen on one and judged on
the other, and the other way round, so that no loss is judged where it was chosen. With h = log π/πref on πref's own 16
samples μ of a prompt:

1. the *tilt* q ∝ μ e^h is the policy as far as these samples show it: its wins and defeats against an independent draw
   of μ are exact, with no sample drawn anew, so that all that is random is prompts and seeds. The *decided* rate is
   wins/(wins + defeats), ties left out: ties are a fifth of the comparisons, and would pull every difference to 0;
2. the tilt cannot see mass that went where πref has none. The policy's *own* samples, four a prompt, with the same
   noise for all policies of a seed, are held against the same μ: what the tilt hides, they show.

A policy has run away when fewer than half of its own samples come to their end, as nearly all of πref's do; such are
counted and enter no mean, no choice and no variance.

Whether training is finished
----------------------------
The learning rate goes as 1/βκ above 0.2 (`llm.forests.config.rate_at`) and falls to 0 along a cosine, so that no policy
ends on the optimiser's noise. Hard labels of separate pairs have no finite optimum (logistic, exponential, Savage), and
at βκ = 0.003 margins would have to reach hundreds of nats before any f bends: there every f is straight over the whole
run, all losses are nearly one policy, and β stands for the length of training. That is no fault to be mended but the
regime in which runs with small β are. What was tried (logistic, one seed, βκ 0.003, 0.03, 0.1 and 0.3): with twice the
steps (96, 192) the tilt's decided rate moved by 0.01 or less for 64 prompts at βκ ≥ 0.1, by 0.05 for 512, whose best
stayed at 0.03; with half the rate the best stayed at 0.03 to 0.1; with twice the rate it moved to 0.3, small β having
got worse. So the level, and with many prompts the best β, depend on length and rate of training, as they do everywhere;
losses are compared at equal length and rate.

Power
-----
An equivalence test of ±0.03 by a 95 % interval has power 0.8 at no difference where the standard error of the mean over
seeds is 0.0093, so a standard deviation of 0.0207 between five seeds. In the miniature (`cpu`: two seeds, three βκ) the
standard deviation of a pair's difference of the tilt's decided rate between seeds, prompts and choice of β included, is
0.014 (64 prompts) and 0.012 (512; root mean square over pairs), which gives 0.99 and better; the prompts' part alone is
0.009 and 0.014, of own samples 0.010 and 0.012. Two seeds say little of a variance: up to 1.5 times as much keeps 0.8.
To fit half an hour of a processor the grid has eight strengths rather than ten, and two conditions; not fewer seeds.
"""
