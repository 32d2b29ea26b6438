PYTHON ?= python3
PY = .venv/bin/python
.DELETE_ON_ERROR:
LOCK ?= requirements.lock
.PHONY: locked lock audit run test report slow soak faithful bench accuracy memory large peers clean

run: .venv/installed  ## set-up, exp001 and exp000 on the embedded data, submission, table
	$(PY) exp/exp001/train.py
	$(PY) exp/exp000/train.py
	$(PY) submit.py --exps 000 001 --weights 0.8 0.2
	$(PY) exp/compare.py 001 000

test: .venv/installed  ## set-up, format, lint, types, tests
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy src
	$(PY) -m pytest -q -m "not slow"

report: .venv/installed  ## one HTML page about all finished experiments: outputs/flla/report.html
	$(PY) exp/report.py

slow: .venv/installed  ## the laws over the whole data set
	$(PY) -m pytest -q -m "slow and not soak"

soak: .venv/installed  ## kills at random points and the corpus of bad files: nothing is lost, nothing is unexplained
	$(PY) -m pytest -q tests/test_soak.py tests/test_faults.py tests/hostile
	cat outputs/soak.md

faithful: .venv/bench  ## our NequIP with the weights of an official model gives its energies
	$(PY) tests/bench/faithful.py

bench: .venv/bench  ## training steps side by side with the official nequip package; COMPILED=1 adds its compile mode, QUICK=1 does two lines
	$(PY) tests/bench/speed.py $(if $(COMPILED),--compiled) $(if $(QUICK),--quick)

accuracy: .venv/installed  ## folds of exp005 with the fused convolution and with the reference
	$(PY) tests/bench/accuracy.py

memory: .venv/installed  ## resident memory of training on 3,000 and on 132,000 crystals
	$(PY) tests/bench/memory.py

large: .venv/installed  ## memory, seconds and disk of a task of N crystals, one epoch of one fold; N="4000 16000 64000 130000"
	$(PY) tests/bench/large.py $(N)

peers: .venv/peers  ## one fold of the reference implementations of MEGNet and ALIGNN beside ours; BUDGET=600 CPU seconds each
	$(PY) tests/bench/peers.py $(if $(BUDGET),--budget $(BUDGET))

.venv/installed: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --upgrade pip
	$(PY) -m pip install --quiet -r requirements.txt
	touch $@

locked:  ## set-up from LOCK, where every file must have a known SHA-256, instead of from requirements.txt
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --require-hashes -r $(LOCK)
	touch .venv/installed

lock: .venv/lock  ## writes requirements.lock, and with TORCH_CPU=folder-or-page-of-wheels requirements-cpu.lock, from requirements.txt
	$(RESOLVE) --universal requirements.txt -o .venv/lock/all && (sed -n '/^#/p' requirements.lock; cat .venv/lock/all) > .venv/lock/new
	mv .venv/lock/new requirements.lock
ifdef TORCH_CPU
	sed -n 's/^\(torch==.*\)/\1+cpu/p' requirements.txt > .venv/lock/cpu.txt
	$(RESOLVE) --python-platform x86_64-manylinux_2_28 --find-links $(TORCH_CPU) --override .venv/lock/cpu.txt requirements.txt -o .venv/lock/cpu
	(sed -n '/^#/p' requirements-cpu.lock; cat .venv/lock/cpu) > .venv/lock/new
	mv .venv/lock/new requirements-cpu.lock
endif

audit: .venv/lock  ## known vulnerabilities of what requirements.lock installs; asks PyPI, fails where it does not answer
	.venv/lock/bin/pip-audit --strict --disable-pip --require-hashes --requirement requirements.lock

.venv/bench: .venv/installed requirements-bench.txt
	$(PY) -m pip install --quiet -r requirements.txt -r requirements-bench.txt
	touch $@

.venv/peers: .venv/installed requirements-peers.txt
	$(PY) -m pip install --quiet -r requirements.txt -r requirements-peers.txt
	touch $@

RESOLVE = .venv/lock/bin/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-annotate

.venv/lock:
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/pip install --quiet uv==0.13.9 pip-audit==2.10.1

clean:
	rm -rf .venv outputs
