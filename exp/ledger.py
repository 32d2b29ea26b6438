"""Write the ledger, its tables in exp/README.md, and the figures of README and docs between their markers.

python exp/ledger.py            # write
python exp/ledger.py --check    # only say whether the committed files are up to date

A published result without a row in exp/ledger.csv gets one. Write its question (in a few words, `short`) and its verdict there
by hand, then run this again. `<!-- oof 094 -->0.0648<!-- / -->` in a page is one figure: see src/results/marked.py.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from src.command import command, one_message
from src.paths import shown


def main(argv: list[str] | None = None) -> None:
    parser = command(__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is out of date")
    args = parser.parse_args(argv)
    with one_message("ledger"):
        from src.results.ledger import updated_files  # imports for seconds
        from src.results.marked import updated_pages

        wanted = updated_files() | updated_pages()
    for path, text in wanted.items():
        same = path.read_text(encoding="utf-8") == text
        if args.check and not same:
            sys.exit(f"ledger: {shown(path)} is out of date; run: python exp/ledger.py")
        if not same:
            path.write_text(text, encoding="utf-8")
        print(f"{shown(path)}: {'up to date' if same else 'written'}")


if __name__ == "__main__":
    main()
