"""The run folder and what is read out of it: tables, one picture, one self-contained page.

Metrics files in, report files out. Refuses to know how a run was made: it imports no trainer,
no engine and no config library. Import the file you need; this one imports none of them, so that
writing metrics does not need the plotting packages.
"""
