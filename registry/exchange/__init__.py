"""Devices from and to files: CSV as spreadsheets write it, and NDJSON.

`importing.import_devices` and `exporting.export_devices` are what the command line and the admin API call;
docs/import.md is the page for users.
"""
