# Two commands matter: `make book` and `make test`. Both set up what is missing in .venv.
# Everything is relative to this folder, so its path may contain spaces.

.DEFAULT_GOAL := help
.PHONY: help book test test-browser test-processors notebooks check-notebooks lint bench pretrained serve assignments grade measures slides pdf offline links release colab-check clean distclean setup

RUN := .venv/bin/python
STAMP := .venv/.ntp_lite_installed
# The book's extensions are a package of their own, for the exporter and the problem sets.
WITH_BOOK := PYTHONPATH="book/_ext$${PYTHONPATH:+:$$PYTHONPATH}" $(RUN)
EXPORT := $(WITH_BOOK) -m ntp_book.export
PORT ?= 8000
# The versions that the book was built with come first.
CANDIDATES := $(PYTHON) python3.11 python3.12 python3.13 python3 python3.14 python

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /|/' | awk -F'|' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: $(STAMP)  ## create .venv and install everything pinned in constraints.txt

# An environment is good only if it gives this folder's ntp_lite: not if the folder was copied or
# renamed, and not if the Python is gone. Then the stamp counts for nothing.
LOCATE := import importlib.util; print(importlib.util.find_spec("ntp_lite").origin)
ifneq ($(shell $(RUN) -I -c '$(LOCATE)' 2>/dev/null),$(shell pwd -P)/ntp_lite/__init__.py)
.PHONY: $(STAMP)
endif

$(STAMP): pyproject.toml constraints.txt
	@sh environment.sh $(CANDIDATES)

# The site and its notebooks are made side by side. One thread each: the matrices are small, and two
# threads that wait for each other take twice the time.
book: $(STAMP)  ## execute every chapter, build the site into _build/html
	@export OMP_NUM_THREADS=1; status=0; \
	$(EXPORT) & \
	.venv/bin/jupyter-book build . -W -n --keep-going --quiet || status=1; \
	wait $$! || status=1; \
	exit $$status
	@rm -rf _build/html/notebooks && cp -R book/notebooks _build/html/notebooks
	@$(WITH_BOOK) -m ntp_book.llms >/dev/null
	@echo "The book is at $$(pwd)/_build/html/index.html"

# pytest itself says how much ran, and fails where nothing did.
test: $(STAMP)  ## run the unit tests, then execute every chapter's notebook
	@status=0; \
	echo "== unit tests"; \
	OMP_NUM_THREADS=1 $(RUN) -m pytest -q -n 2 --dist loadfile tests \
	  --ignore tests/browser || status=1; \
	echo "== notebook cells"; \
	OMP_NUM_THREADS=1 $(RUN) -m pytest -q -n 2 --dist loadfile --nbval-lax --nbval-current-env \
	  book/notebooks || status=1; \
	exit $$status

# Sums are formed in another order on another processor, and what is trained long goes elsewhere then.
# Numerical libraries can be told to compute as on others; what the text says has to hold there, too.
OLD := ATEN_CPU_CAPABILITY=default MKL_ENABLE_INSTRUCTIONS=SSE4_2 OPENBLAS_CORETYPE=Nehalem DNNL_MAX_CPU_ISA=SSE41
AVX2 := ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 OPENBLAS_CORETYPE=Haswell DNNL_MAX_CPU_ISA=AVX2
AMD := ATEN_CPU_CAPABILITY=avx2 MKL_CBWR=COMPATIBLE OPENBLAS_CORETYPE=Zen DNNL_MAX_CPU_ISA=AVX2
test-processors: $(STAMP)  ## execute every chapter's notebook as other x86 processors compute
	@status=0; \
	for kind in "$(OLD)" "$(AVX2)" "$(AMD)"; do \
	  echo "== $$kind"; \
	  env $$kind OMP_NUM_THREADS=1 $(RUN) -m pytest -q -n 2 --dist loadfile --nbval-lax \
	    --nbval-current-env book/notebooks || status=1; \
	done; \
	exit $$status

# What these tests need beside the system's Chromium is fetched once, if it can be; what is missing
# then, they name when they are skipped. Pages are looked at on the site that `make book` has built.
test-browser: $(STAMP)  ## look at figures and pages in a browser (needs Chromium; PAGES="tour intro")
	@$(RUN) -c 'import playwright, pypdf' 2>/dev/null || \
	  $(RUN) -m pip install -q -c constraints.txt playwright pypdf || true
	@[ -d _build/browser/node_modules/axe-core ] || ! command -v npm >/dev/null || \
	  npm install --silent --no-fund --no-audit --prefix _build/browser axe-core@4 || true
	@OMP_NUM_THREADS=1 PAGES="$(PAGES)" $(RUN) -m pytest -q -n 2 --dist worksteal tests/browser \
	  $(if $(PAGES),--ignore tests/browser/test_slides.py --ignore tests/browser/test_pdf.py)

# REPOSITORY=owner/name and RELEASE=tag (or none) first write into _config.yml; REFRESH=1 accepts new
# numbers.
notebooks: $(STAMP)  ## export the chapters to book/notebooks (REPOSITORY=owner/name, REFRESH=1)
	@$(EXPORT) $(if $(REPOSITORY),--repository "$(REPOSITORY)") \
	  $(if $(RELEASE),--release "$(RELEASE)") $(if $(REFRESH),--refresh)

assignments: $(STAMP)  ## release the problem sets of one class (SEED=2027 OUT=folder)
	@$(WITH_BOOK) -m teaching.release \
	  --seed $(or $(SEED),$(error say which class: make assignments SEED=2027)) \
	  $(if $(OUT),--out "$(OUT)")

# ROSTER=table of names and numbers; DUE="2027-03-01 23:59" takes points off late submissions
# (LATE=10 per cent a day); JOBS=n submissions at a time; SANDBOX=no grades without bubblewrap.
grade: $(STAMP)  ## grade notebooks (SUBMISSIONS=folder SET=1 SEED=2027 OUT=folder ROSTER=table)
	@$(WITH_BOOK) -m teaching.grader "$(SUBMISSIONS)" \
	  $(if $(SET),--set "$(SET)") $(if $(SEED),--seed "$(SEED)") \
	  $(if $(OUT),--out "$(OUT)") $(if $(JOBS),--jobs "$(JOBS)") \
	  $(if $(ROSTER),--roster "$(ROSTER)") $(if $(DUE),--due "$(DUE)") \
	  $(if $(LATE),--late-percent "$(LATE)") \
	  $(if $(filter no,$(SANDBOX)),--no-sandbox) || [ $$? -eq 1 ] # 1: finished, some files unreadable

check-notebooks: $(STAMP)  ## fail if a notebook differs from a fresh export
	@$(EXPORT) --check

lint: $(STAMP)  ## ruff, mypy, codespell, and the form of the workflows
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy
	@.venv/bin/codespell
	@.venv/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

bench: $(STAMP)  ## measure against other solvers (half an hour); fails if a result is wrong
	@for script in "margin --full" feasible path labels out_of_core train gpu; do \
	  echo "== benchmarks/$$script"; \
	  set -- $$script; name=$$1; shift; \
	  $(RUN) benchmarks/$$name.py "$$@" || exit 1; \
	done

# The chapter on a pretrained language model works without them, with the measurements that are stored.
pretrained: $(STAMP)  ## fetch the weights of the pretrained model (93 MB, Apache-2.0)
	@$(RUN) -c 'import transformers, gguf, accelerate' 2>/dev/null || \
	  $(RUN) -m pip install -q -c constraints.txt transformers gguf accelerate
	@$(RUN) benchmarks/pretrained_weights.py

# This machine only: the site of a book that is being written is nobody else's business.
serve: $(STAMP)  ## show the built site at http://localhost:8000 (PORT=...)
	@case "$(PORT)" in \
	  ''|*[!0-9]*|??????*) port=0;; \
	  *) port=$(PORT);; \
	esac; \
	if [ "$$port" -lt 1 ] || [ "$$port" -gt 65535 ]; then \
	  echo "PORT is '$(PORT)'; use a number from 1 to 65535." >&2; exit 1; \
	fi
	@[ -f _build/html/index.html ] || { echo "There is no site yet; run make book first." >&2; exit 1; }
	@$(RUN) -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html || \
	  { echo "If port $(PORT) is taken, try make serve PORT=8001." >&2; exit 1; }

measures: $(STAMP)  ## count words, figures and code on the pages of the built site
	@$(WITH_BOOK) -m ntp_book.measures

slides: $(STAMP)  ## make slides of every chapter from the built site, in _build/slides
	@[ -f _build/html/index.html ] || { echo "There is no site yet; run make book first." >&2; exit 1; }
	@$(WITH_BOOK) -m ntp_book.slides

# These need what `make test-browser` needs: Playwright and the system's Chromium.
pdf: $(STAMP)  ## print the built site as one PDF, _build/geometry.pdf (needs Chromium)
	@[ -f _build/html/index.html ] || { echo "There is no site yet; run make book first." >&2; exit 1; }
	@$(RUN) -c 'import playwright, pypdf' 2>/dev/null || \
	  $(RUN) -m pip install -q -c constraints.txt playwright pypdf
	@$(WITH_BOOK) -m ntp_book.pdf

offline: $(STAMP)  ## pack the built site, to be read without a network
	@[ -f _build/html/index.html ] || { echo "There is no site yet; run make book first." >&2; exit 1; }
	@$(RUN) -c 'import shutil; print(shutil.make_archive("_build/geometry-offline", "zip", "_build", "html"))'

links: book  ## ask whether the links that leave the book still lead somewhere (needs a network)
	@$(WITH_BOOK) -m ntp_book.links

# STAND_INS: pinned (Colab's own versions), newest, oldest, by default all three; NOTEBOOKS=a,b by
# default all; TORCH=version takes another PyTorch; FREEZE=pip-freeze.txt a newer list of Colab's.
colab-check: $(STAMP)  ## run the notebooks in stand-ins for Colab (needs git and a network)
	@$(WITH_BOOK) -m ntp_book.colab $(STAND_INS) $(if $(NOTEBOOKS),--notebooks "$(NOTEBOOKS)") \
	  $(if $(TORCH),--torch "$(TORCH)") $(if $(FREEZE),--freeze "$(FREEZE)")

# What does not agree is said at once, not after the book is built.
release: $(STAMP)  ## write the files of a release into _build/release (TAG=v1.2.3; needs Chromium)
	@$(WITH_BOOK) -m ntp_book.release --check \
	  "$(or $(TAG),$(error say which: make release TAG=v1.2.3))"
	@$(MAKE) --no-print-directory book
	@$(RUN) -c 'import playwright, pypdf, build' 2>/dev/null || \
	  $(RUN) -m pip install -q -c constraints.txt playwright pypdf build
	@$(WITH_BOOK) -m ntp_book.release "$(TAG)"

clean:  ## remove what was built
	rm -rf _build .pytest_cache .ruff_cache .mypy_cache .hypothesis

distclean: clean  ## remove the environment too
	rm -rf .venv ntp_lite.egg-info
