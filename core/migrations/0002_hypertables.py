"""TimescaleDB itself, then the ledger's and the journal's hypertables."""

from django.db import migrations

from core.hypertables import CreateHypertable


class Migration(migrations.Migration):
    dependencies = [("core", "0001_initial")]

    operations = [
        # Backwards the extension stays: other rooms' hypertables may still need it.
        migrations.RunSQL("CREATE EXTENSION IF NOT EXISTS timescaledb", migrations.RunSQL.noop),
        CreateHypertable("fill", "1 year"),
        CreateHypertable("equitysnapshot", "1 year"),
        CreateHypertable("event", "1 month"),
    ]
