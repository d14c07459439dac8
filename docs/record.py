#!/usr/bin/env python3
"""Records a command on a terminal and writes what it showed as an animated SVG: docs/record.py docs/demo.svg make demo

Needs Python 3 and nothing else. Every frame is real output, at its real time.
"""
import fcntl
import html
import os
import pty
import re
import struct
import sys
import termios
import time

COLUMNS, CHAR, LINE, PAD, HOLD = 100, 7.85, 18, 16, 5.0
COLORS = {"2": "#8b949e", "31": "#ff7b72", "32": "#7ee787", "33": "#e3b341", "36": "#79c0ff"}
ESCAPE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


class Screen:
    """As much of a terminal as the command uses: colours, going up, and clearing from the cursor on."""

    def __init__(self, command):
        self.lines, self.row, self.style = [[("32", "$ "), ("", command)], []], 1, ""

    def feed(self, text):
        at = 0
        for m in ESCAPE.finditer(text):
            self.write(text[at:m.start()])
            at = m.end()
            arg, kind = m.group(1), m.group(2)
            if kind == "m":
                self.style = arg if arg not in ("", "0") else ""
            elif kind == "A":
                self.row = max(0, self.row - int(arg or 1))
            elif kind == "J":
                del self.lines[self.row + 1:]
                self.lines[self.row] = []
        self.write(text[at:])

    def write(self, text):
        for part in re.split(r"(\r\n|\n|\r)", text):
            if part in ("\n", "\r\n"):
                self.row += 1
                if self.row == len(self.lines):
                    self.lines.append([])
            elif part and part != "\r":
                self.lines[self.row].append((self.style, part))

    def frame(self):
        return [list(line) for line in self.lines]


def record(argv):
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS=str(COLUMNS), LINES="24")
        os.execvp(argv[0], argv)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    screen, frames, began = Screen(" ".join(argv)), [], time.monotonic()
    frames.append((0.0, screen.frame()))
    while True:
        try:
            data = os.read(fd, 65536)
        except OSError:
            break
        if not data:
            break
        screen.feed(data.decode("utf-8", "replace"))
        frames.append((time.monotonic() - began, screen.frame()))
    if os.waitpid(pid, 0)[1] != 0:
        sys.exit("the command failed")
    return frames


def squeeze(frames):
    """Building takes its time: what lies between two frames is shown for a second at most."""
    at, before, out = 0.0, 0.0, []
    for t, frame in frames:
        at += min(t - before, 1.0)
        before = t
        out.append((at, frame))
    return out


def svg(frames):
    total = frames[-1][0] + HOLD
    rows = max(len(f) for _, f in frames)
    width, height = int(COLUMNS * CHAR + 2 * PAD), rows * LINE + 2 * PAD
    css = [".f{opacity:0;animation-duration:%.2fs;animation-iteration-count:infinite;animation-timing-function:step-end}" % total]
    body = []
    for i, (t, frame) in enumerate(frames):
        end = frames[i + 1][0] if i + 1 < len(frames) else total
        a, b = 100 * t / total, 100 * end / total
        after = "" if i + 1 == len(frames) else "%.3f%%,100%%{opacity:0}" % b
        start = "" if i == 0 else "0%{opacity:0}"
        css.append("@keyframes k%d{%s%.3f%%{opacity:1}%s}#f%d{animation-name:k%d}" % (i, start, a, after or "100%{opacity:1}", i, i))
        texts = []
        for n, line in enumerate(frame):
            spans = "".join('<tspan%s>%s</tspan>' % (
                ' fill="%s"' % COLORS[s] if s in COLORS else "", html.escape(t)) for s, t in line)
            if spans:
                texts.append('<text x="%d" y="%d">%s</text>' % (PAD, PAD + (n + 0.75) * LINE, spans))
        body.append('<g class="f" id="f%d">%s</g>' % (i, "".join(texts)))
    # Who wants no motion sees the end.
    css.append("@media (prefers-reduced-motion:reduce){.f{animation:none}#f%d{opacity:1}}" % (len(frames) - 1))
    return """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img">
<title>make demo: a run asks an outside service for a picture, sleeps, shows the progress that is called back, and prints its output</title>
<style>text{{font:13px/1 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#e6edf3;white-space:pre}}{css}</style>
<rect width="{w}" height="{h}" rx="8" fill="#0d1117"/>
{body}
</svg>
""".format(w=width, h=height, css="".join(css), body="\n".join(body))


if __name__ == "__main__":
    with open(sys.argv[1], "w", encoding="utf-8") as f:
        f.write(svg(squeeze(record(sys.argv[2:]))))
