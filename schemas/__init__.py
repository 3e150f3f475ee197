"""The contracts everything else agrees on: records, vocabulary, units, times, ids and topic names. Imports nothing of ours."""
