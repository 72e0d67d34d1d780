"""Study B: are the losses equal when β is tuned, does the best β move as κ says, and what decides the outcome?"""
