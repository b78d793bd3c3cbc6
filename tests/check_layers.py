#!/usr/bin/env python3
"""Holds the house in order: what the compiler does not see. Python's standard library only.

 - a folder of src/ includes headers only from itself and from folders before it in FOLDERS
 - the library proper includes only libc and threads; no library prints, exits or aborts
 - a file has at most 800 lines and a function at most 80; a table may be longer: its comment,
   directly above it, says 'table'
 - no note of unfinished work and no commented-out code
"""
import glob, os, re, sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDERS = "base kernel graph plan comm optim accum train model io data config cli".split()
PROPER = FOLDERS[:FOLDERS.index("model")]
SYSTEM = set("""assert errno fenv float immintrin inttypes limits math pthread sched signal stdalign stdarg stdatomic
stdbool stddef stdint stdio stdlib string time unistd arm_neon arm_sve xmmintrin sys/auxv sys/mman sys/types cpuid
sys/syscall linux/futex sys/resource""".split())
MAX_FILE, MAX_FUNCTION = 800, 80
SPEAKS = r"\b(printf|vprintf|puts|putchar|perror|exit|_exit|_Exit|quick_exit|abort)\s*\(|\b(stdout|stderr)\b"
PROPER_SPEAKS = SPEAKS + r"|\b(fprintf|vfprintf|fputs|fwrite|write|system)\s*\("  # reading /sys and /proc is fine
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
DEAD_CODE = re.compile(r"^\s*(//.*[;{}]|/\*[^*]*;\s*\*/)\s*$|^\s*#\s*if\s+0\b")


def files(*patterns):
    found = []
    for p in patterns:
        found += glob.glob(os.path.join(ROOT, p), recursive=True)
    return sorted(os.path.relpath(f, ROOT) for f in found if os.path.isfile(f))


def text_of(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def bare(text):
    """The code without comments and strings; lines keep their numbers."""
    def blank(m):
        return re.sub(r"[^\n]", " ", m.group(0))
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def check_includes(path, text):
    folder = path.split("/")[1]
    allowed = FOLDERS[:FOLDERS.index(folder) + 1]
    for n, line in enumerate(text.splitlines(), 1):
        m = re.match(r'\s*#\s*include\s+(["<])([^">]+)[">]', line)
        if not m:
            continue
        quoted, name = m.group(1) == '"', m.group(2)
        if quoted and "/" in name and name.split("/")[0] not in allowed:
            yield f"{path}:{n}: {folder}/ may not include {name}: only its own and {', '.join(allowed[:-1]) or 'nothing'}"
        if folder in PROPER and not quoted and name != "accrue/accrue.h" and name[:-2] not in SYSTEM:
            yield f"{path}:{n}: the library proper may not include <{name}>: libc and threads only"


def check_voice(path, text):
    folder = path.split("/")[1]
    pattern = re.compile(PROPER_SPEAKS if folder in PROPER else SPEAKS)
    for n, line in enumerate(bare(text).splitlines(), 1):
        m = pattern.search(line)
        if m:
            yield f"{path}:{n}: '{m.group(0).strip()}': a library never prints, exits or aborts"


def check_lengths(path, text):
    lines = text.splitlines()
    is_table = re.match(r"/\*.*?\btable\b", text[:400], re.S | re.I) and path.endswith((".def", "_table.c", "_table.h"))
    if len(lines) > MAX_FILE and not is_table:
        yield f"{path}: {len(lines)} lines, at most {MAX_FILE}"
    start = first = None
    for n, line in enumerate(lines, 1):
        if line == "{" and start is None:
            start = n
            first = n - 1
            while first > 1 and lines[first - 2].strip() and not lines[first - 2].rstrip().endswith((";", "}", "*/")):
                first -= 1
        elif line == "}" and start is not None:
            above = "\n".join(lines[max(0, first - 4):first - 1])
            if n - first + 1 > MAX_FUNCTION and not re.search(r"\btable\b", above):
                yield f"{path}:{first}: a function of {n - first + 1} lines, at most {MAX_FUNCTION}"
            start = None


def check_words(path, text):
    for n, line in enumerate(text.splitlines(), 1):
        m = UNFINISHED.search(line)
        if m:
            yield f"{path}:{n}: '{m.group(0)}': finish it or drop it"
        if path.endswith((".c", ".h", ".def")) and DEAD_CODE.search(line):
            yield f"{path}:{n}: commented-out code: {line.strip()}"


def main():
    source = files("src/**/*.c", "src/**/*.h", "src/**/*.def")
    library = [f for f in source if f.split("/")[1] != "cli"]
    code = source + files("include/**/*.h", "tests/**/*.c", "tests/**/*.h", "examples/*.c", "bench/*.c")
    words = code + files("tests/**/*.py", "tests/**/*.sh", "examples/*.py", "docs/**/*.md", "*.md", "cmake/*", "Makefile",
                         "CMakeLists.txt", "recipes/*", ".ci/*")
    bad = 0
    for name, check, over in (("includes", check_includes, source), ("voice", check_voice, library),
                              ("lengths", check_lengths, code), ("words", check_words, words)):
        complaints = [c for f in over for c in check(f, text_of(f))]
        for c in complaints:
            print(c)
        bad += len(complaints)
        print(f"not ok {name}: {len(complaints)} complaints" if complaints else f"ok {name}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
