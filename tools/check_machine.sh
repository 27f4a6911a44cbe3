#!/bin/sh
# Names what this machine lacks, with the Debian package that brings it.
#   tools/check_machine.sh python PYTHON   exit 1 unless PYTHON can make a virtual environment
#   tools/check_machine.sh native PYTHON   exit 1 unless a C extension can be built for PYTHON
what=$1
python=$2

missing() {
    echo "missing: $1 (Debian: apt install $2)" >&2
    exit 1
}

compiles() { # a line of C, with PYTHON's include folder
    include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    echo "$1" | ${CC:-gcc} -I"$include" -fsyntax-only -x c - 2>/dev/null
}

if [ "$what" = python ]; then
    "$python" -c 'pass' 2>/dev/null || missing "$python" python3
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        missing "Python 3.11 or newer ($python is $("$python" -V 2>&1); choose with PYTHON=...)" python3
    "$python" -c 'import ensurepip, venv' 2>/dev/null || missing "the venv module" python3-venv
else
    ${CC:-gcc} --version >/dev/null 2>&1 || missing "the C compiler ${CC:-gcc}" gcc
    compiles '#include <pthread.h>' || missing "the C library's headers" libc6-dev
    compiles '#include <Python.h>' || missing "Python.h" python3-dev
fi
