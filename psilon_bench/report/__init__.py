"""Reports: from the records of runs to tables, figures and one HTML page; nothing is trained here."""
