"""Names of files that learners and runs write and other modules read."""

HISTORY = "history.csv"  # one line for each unit of progress of a training
CHECKPOINT = "checkpoint.pt"  # the state that an interrupted training resumes from
WEIGHTS = "model.safetensors"  # of a network
SHARED = "shared.safetensors"  # what the published networks of all folds have in common, in the folder of the folds
METRICS_FILE = "metrics.json"  # of a finished fold, a finished run and published results
