#!/bin/sh
# Called by make: sets up .venv, or mends one that belongs to another folder or to a Python that is
# gone. The arguments are the Pythons to try, in this order.

python=.venv/bin/python
here=$(pwd -P)
new_enough='import sys; sys.exit(sys.version_info < (3, 11))'

make_again() {
  echo "$1 It is made again." >&2
  rm -rf .venv
}

if [ -e .venv ] || [ -L .venv ]; then
  made_for=$(sed -n 's/^ *\(export \)\{0,1\}VIRTUAL_ENV=["'\'']\{0,1\}\(\/.*\)\/\.venv["'\'']\{0,1\}$/\2/p' \
    .venv/bin/activate 2>/dev/null | head -n 1)
  if [ ! -x "$python" ] || ! "$python" -c '' 2>/dev/null; then
    make_again "The Python of .venv is gone or does not start."
  elif ! "$python" -c "$new_enough"; then
    make_again "The .venv has $("$python" -V), and this book needs Python 3.11 or newer."
  elif [ -n "$made_for" ] && [ "$made_for" != "$here" ]; then
    make_again "The .venv was made for the folder $made_for, and this is $here."
  fi
fi

if [ ! -x "$python" ]; then
  found=""
  for candidate in "$@"; do
    if "$candidate" -c "$new_enough" >/dev/null 2>&1; then
      found="$candidate"
      break
    fi
  done
  if [ -z "$found" ]; then
    echo "This book needs Python 3.11 or newer, and none was found. Install one, or name it:" \
      "make book PYTHON=/path/to/python3" >&2
    exit 1
  fi
  echo "Setting up .venv with $found ..."
  if ! "$found" -m venv .venv; then
    rm -rf .venv
    echo "The environment could not be created; on Debian and Ubuntu, install python3-venv." >&2
    exit 1
  fi
fi

pip() {
  "$python" -m pip --quiet --disable-pip-version-check "$@"
}

echo "Installing the versions pinned in constraints.txt (once; a few minutes) ..."
if ! pip --retries 1 install -c constraints.txt -e ".[book,test,dev,teach]"; then
  # Is it the packages or the network? A small package without dependencies tells.
  trial=$(mktemp -d)
  if ! pip --retries 0 download --no-deps --dest "$trial" packaging >/dev/null 2>&1; then
    echo "Nothing could be downloaded, not even one small package: is there a network? The first" \
      "make needs one; later ones do not." >&2
  fi
  rm -rf "$trial"
  exit 1
fi
printf '%s\n%s\n' "$here" "$("$python" -V)" >.venv/.ntp_lite_installed
