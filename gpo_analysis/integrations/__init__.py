"""Other people's trainers with any margin loss; each is imported only when asked for.

`gpo_analysis.integrations.trl` holds `GPOTrainer` and `GPOConfig`, of TRL's DPOTrainer and DPOConfig (extra ``trl``);
`gpo_analysis.integrations.sequences` what both it and the language models of this project measure on token sequences.
"""
