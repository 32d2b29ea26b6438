"""Files that a search leaves beside its proposal, and their publication."""

from pathlib import Path

from src.storage.files import write_atomic

TRIALS, KNOBS, PICTURE = "trials.csv", "knobs.csv", "knobs.png"  # every trial; importance of every knob; the same drawn


def publish_search(search: Path, folder: Path) -> None:
    """Copy the tables and the picture of a search to `folder`, as far as there are any; what is published stays as it is."""
    if (folder / TRIALS).is_file():
        return
    for name in (TRIALS, KNOBS, PICTURE):
        if (search / name).is_file():
            write_atomic(folder / name, (search / name).read_bytes())
