"""Study C: what a run will do, said before it is made, and how far that holds.

Design
------
Per seed: a Llama fine-tuned to πref on a generated world, prompts, samples of πref, and pairs of two distinct samples
with hard labels from σ(scale · Δr), a share ε of them flipped. Networks are trained from πref on mini-batches of pairs,
by Adam and by SGD, at a constant rate, for each of the paper's six losses and several βκ (hinge, whose κ is 0: β
itself, marked), and, for logistic and squared, at another rate, batch and ε; all beside their own limit β → 0, in which
f is a line. Seeds redraw πref, prompts, samples, pairs, labels and order. A few runs have labels tossed anew at every
visit: nothing can be learnt, and what moves is noise.

What is predicted
-----------------
Before a run: by its **tangent** (`llm.predicted.models`), trained by the same loop with the same optimiser, batches and
labels, without a forward pass. From the limit run alone: by the **scalar laws** (`gpo_analysis.training`). Both against
margins, ½E_μ[ρ²], KL and the chosen's log-probability of the network, on samples trained on, on further samples of the
same prompts, and on other prompts (`llm.predicted.tables`). Nothing is fitted.

The gradient of every run is divided by β|f′(0)|, which Adam does by itself: runs of all f and β then begin alike with
SGD as well, and the limit is one of them.

How big
-------
A step costs 6 · parameters · tokens of the trees its pairs stand in. ``small``: 71 runs of 0.12 million parameters,
90 steps of 16 pairs, five seeds: some 18 minutes of one core; ``fresh`` is the same of 24 seeds, seven minutes of
an H100. ``gpu``: 3.2 million parameters and 77 runs of 320 steps a seed, some 20 prompts · 260 tokens a step: 2.4 PFLOP
a seed, 12 in all; J of 44 prompts × 40 samples is 23 GB in float32 and stays on the card. It keeps within thirteen
minutes by itself: a seed's pieces are cut off from the last one on (another batch, then SGD), its seeds are not. It has
not been run on a GPU.
"""
