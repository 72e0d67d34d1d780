"""Study A: is the optimum reached? The chain f → κ → exact policy → transformer, closed or not, and where.

Design
------
Everything a policy is trained on is fixed and known exactly: prompts of the generated world, many samples of πref for
each, the world's own reward r (`llm.rewards.world`), and soft labels p(i ≻ j) = σ(scale · (r_i − r_j)) for all pairs
of samples of one prompt. A Llama is trained from πref for each of the paper's six losses and each βκ from 0.1 to 6.4 in
factors of 2 (hinge, whose κ is 0: β itself, marked), until gradient and KL rest: Adam, its rate decayed to 0; a step
takes some prompts with all their pairs. Five seeds redraw all that is random: πref (initial weights, records,
demonstrations, order), prompts, samples, and the order of training.

What training determines, and what is compared
----------------------------------------------
Let x have the distinct samples S with shares μ. The loss is a function of h = log πθ/πref on S alone,

    L = E_x 2 Σ_ij μ_i μ_j p_ij f(β (h_i − h_j)),

and of h only up to a constant a prompt. A policy over all sequences can give h any values on S: take
π = πref e^h for them, with the constant so small that Σ_S πref e^h < 1, and put what is left anywhere else. So

1. the infimum of L over all policies is that of the tabular problem (P, μ) on S, and is reached at βh = g + const,
   g the fitted reward of `PreferenceProblem.fit`: unique for convex f that fixes every pair, whatever β;
2. π(S), hence KL(π‖πref) as a whole, is *not* determined: it follows from the network, not from the loss;
3. what is determined is the tilt q ∝ μ e^h, with KL(q‖μ), its win rate against μ, and ½E_μ[ρ²] = Var_μ(h). With
   samples of πref q is the self-normalised estimate of π, and the optimum's g/β goes through the same formula with the
   same samples, so that no error of sampling stands between measured and predicted (`llm.optimum.tables`).

Equal rewards are compared alike with everything, so g is a function of the reward; for labels of this kind
κg = ½ scale · r exactly for logistic, exponential and Savage, whose KL at equal βκ is therefore one curve, and g is
the Borda score E_j[2 p_ij − 1] for the squared loss. On *further* samples of the same prompts, never trained on, the
same comparison asks whether the network has learnt the reward or the samples.

How big
-------
The work is 6 · parameters · tokens: with a prompt's samples as a tree of prefixes (`llm.forests.trees`) the preset
``gpu`` takes 42 policies · 12 prompts · some 260 tokens a step, 2.5 TFLOP at 3.2 million parameters, and 1,000 steps
for each of five seeds: 12.5 PFLOP, plus about as many bytes as 250 s of an H100's memory can move. Matrix products
are in tf32: bfloat16's rounding, some 0.03 nats a response, would be a third of h at βκ = 6.4.
"""
