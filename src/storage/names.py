"""Names of files that learners write, runs follow and results read."""

HISTORY = "history.csv"  # one line for each unit of progress of a training
CHECKPOINT = "checkpoint.pt"  # the state that an interrupted training resumes from
