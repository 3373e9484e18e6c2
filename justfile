# The words of this project. CONTRIBUTING.md says more about each.

python := ".venv/bin/python"

# make .venv with Tidemill and everything its tests need
setup:
    python3 -m venv .venv
    .venv/bin/pip install -e '.[test]'

# run the tests; arguments go to pytest
test *arguments:
    {{python}} -m pytest {{arguments}}

# rules and layout of the source
lint:
    {{python}} -m ruff check .
    {{python}} -m ruff format --check .

# the package in pyright's strict mode, the public types in mypy's
types:
    {{python}} -m pyright --pythonpath {{python}}
    {{python}} -m mypy

# measure against the budgets; arguments go to the runner
bench *arguments:
    {{python}} benches/run.py {{arguments}}

# fail on whatever is public and undocumented
docs:
    {{python}} -m pytest tests/test_docs.py

# build the web page
ui:
    cd ui && npm ci --no-audit --no-fund && npm run build

# pictures of every page, in both themes, in screenshots/; arguments go to the script
screenshots *arguments:
    {{python}} ui/scripts/screenshots.py {{arguments}}

# everything a change must pass
all: lint types test
