"""From a question to a schedule: what is missing, the least that has to run, what that costs, and who runs it when."""
