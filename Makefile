PYTHON ?= python3
PY = .venv/bin/python
.DELETE_ON_ERROR:
LOCK ?= requirements/all.lock
.PHONY: help locked lock audit run test report slow soak mutants faithful bench gpu accuracy memory large peers clean

run: .venv/installed  ## set up, train exp022 and exp094 on the embedded data, blend them, write a submission, print the scores
	$(PY) exp/exp022/train.py
	$(PY) exp/exp094/train.py
	$(PY) submit.py --exps 022 094 --blend weights
	$(PY) exp/compare.py 022 094
	$(PY) exp/compare.py --submission outputs/flla/submission.csv

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s%s\n", $$1, $$2}' Makefile

test: .venv/installed  ## set up, check format, lint and types, run the tests
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy src
	$(PY) -m pytest -q -m "not slow and not gpu" -n auto --dist worksteal

report: .venv/installed  ## write one HTML page on all finished experiments: outputs/flla/report.html
	$(PY) exp/report.py

slow: .venv/slow  ## run the tests over the whole data set, and those of the optional packages (SevenNet, Optuna, trackers, Ray)
	$(PY) -m pytest -q -rs -m "slow and not soak"
	$(PY) -m pytest -q -rs tests/test_sevennet.py tests/test_search.py tests/test_tracker.py

soak: .venv/installed  ## kill runs at random points and feed them the corpus of bad files; print the table of kills
	$(PY) -m pytest -q tests/test_soak.py tests/test_faults.py tests/hostile
	cat outputs/soak.md

mutants: .venv/mutants  ## put seeded faults into a copy of src, one by one: the tests must find each; ONLY=blend or 17, JOBS=2; N=400 SEED=1: drawn by a machine
	$(if $(N),cd tests && ../$(PY) -m mutants.machine --n $(N) --seed $(or $(SEED),1),$(PY) tests/mutants/run.py) $(if $(ONLY),--only $(ONLY)) $(if $(JOBS),--jobs $(JOBS))

faithful: .venv/bench .venv/peers  ## load the weights of an official NequIP, ALIGNN, MEGNet and CGCNN into ours and compare outputs
	$(PY) bench/faithful.py
	$(PY) bench/faithful_peers.py

BENCH = $(if $(COMPILED),--compiled) $(if $(FULL),--full) $(if $(BATCHES),--batches) $(if $(CRYSTALS),--crystals $(CRYSTALS))
bench: .venv/bench  ## time training steps against the official nequip package; COMPILED=1, FULL=1, BATCHES=1, QUICK=1, WHOLE=1: see bench/speed.py and whole.py
	$(PY) $(if $(WHOLE),bench/whole.py --ten-folds $(TEN_FOLDS),bench/speed.py $(BENCH) $(if $(QUICK),--quick))

gpu: .venv/bench  ## check the laws on a GPU (tests/gpu), then time steps there against nequip eager and compiled
	$(PY) -m pytest -q -rs -m gpu tests/gpu
	$(PY) bench/speed.py --device cuda --compiled --quick --batches

accuracy: .venv/installed  ## train two folds of exp005 with the fused convolution and with the reference
	$(PY) bench/accuracy.py

memory: .venv/installed  ## measure the memory of training on 3,000 and on 132,000 crystals
	$(PY) bench/memory.py

large: .venv/installed  ## measure memory, seconds and disk of one epoch of one fold; N="4000 16000 64000 130000" crystals
	$(PY) bench/large.py $(N)

peers: .venv/peers  ## train one fold with the reference MEGNet and ALIGNN and with ours; BUDGET=600 CPU seconds each
	$(PY) bench/peers.py $(if $(BUDGET),--budget $(BUDGET))

.venv/installed: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --upgrade pip
	$(PY) -m pip install --quiet -r requirements.txt
	touch $@

locked:  ## set up from LOCK instead of requirements.txt: every file must match a known SHA-256
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --require-hashes -r $(LOCK)
	touch .venv/installed

lock: .venv/lock  ## renew requirements/all.lock, and with TORCH_CPU=(folder or page of wheels) requirements/cpu.lock
	$(RESOLVE) --universal requirements.txt -o .venv/lock/all.lock
	$(call replace_lock,all.lock)
ifdef TORCH_CPU
	sed -n 's/^\(torch==.*\)/\1+cpu/p' requirements.txt > .venv/lock/cpu.txt
	$(RESOLVE) --python-platform x86_64-manylinux_2_28 --find-links $(TORCH_CPU) --override .venv/lock/cpu.txt requirements.txt -o .venv/lock/cpu.lock
	$(call replace_lock,cpu.lock)
endif

audit: .venv/lock  ## ask PyPI for known vulnerabilities of what requirements/all.lock installs; fails if PyPI does not answer
	.venv/lock/bin/pip-audit --strict --disable-pip --require-hashes --requirement requirements/all.lock

# the extras that these targets need, each on top of requirements.txt
.venv/bench .venv/mutants .venv/peers .venv/slow: .venv/%: .venv/installed pyproject.toml
	$(PY) -m pip install --quiet -e ".[$*]"
	touch $@

RESOLVE = .venv/lock/bin/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-annotate
# keep the comment at the head of the old lock
replace_lock = (sed -n '/^\#/p' requirements/$(1); cat .venv/lock/$(1)) > .venv/lock/new && mv .venv/lock/new requirements/$(1)

.venv/lock:
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/pip install --quiet uv==0.13.9 pip-audit==2.10.1

clean:  ## remove .venv and outputs
	rm -rf .venv outputs
