"""Ticks and chart levels as hypertables, with chunks for 100 million ticks and for decades of minute bars."""

from django.db import migrations

from core.hypertables import CreateHypertable

# One call instead of a statement per level: a live feed refreshes them many times a second, and most of such a
# statement's time is planning, which a function does once a session. What it means is said in marketdata/levels.py.
REFRESH_LEVELS = """
CREATE FUNCTION marketdata_refresh_levels(instrument bigint, seconds int, levels int[], first bigint, last bigint)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    level int;
    below int := seconds;
    from_time timestamptz;
    to_time timestamptz;
BEGIN
    FOREACH level IN ARRAY levels LOOP
        from_time := to_timestamp(floor(first::float8 / level) * level);
        to_time := to_timestamp(floor(last::float8 / level) * level + level);
        IF below = seconds THEN
            INSERT INTO marketdata_chartbar AS kept (instrument_id, interval_seconds, level_seconds, time, first_time,
                open, high, low, close, volume, n_bars)
            SELECT instrument, seconds, level,
                to_timestamp(floor(extract(epoch FROM bar.time)::float8 / level) * level),
                min(bar.time), first(bar.open, bar.time), max(bar.high), min(bar.low), last(bar.close, bar.time),
                sum(bar.volume ORDER BY bar.time), count(*)
            FROM marketdata_bar AS bar
            WHERE bar.instrument_id = instrument AND bar.interval_seconds = seconds
              AND bar.time >= from_time AND bar.time < to_time
            GROUP BY 4
            ON CONFLICT (instrument_id, interval_seconds, level_seconds, time) DO UPDATE SET
                first_time = excluded.first_time, open = excluded.open, high = excluded.high, low = excluded.low,
                close = excluded.close, volume = excluded.volume, n_bars = excluded.n_bars;
        ELSE
            INSERT INTO marketdata_chartbar AS kept (instrument_id, interval_seconds, level_seconds, time, first_time,
                open, high, low, close, volume, n_bars)
            SELECT instrument, seconds, level,
                to_timestamp(floor(extract(epoch FROM bar.time)::float8 / level) * level),
                min(bar.first_time), first(bar.open, bar.time), max(bar.high), min(bar.low), last(bar.close, bar.time),
                sum(bar.volume ORDER BY bar.time), sum(bar.n_bars)
            FROM marketdata_chartbar AS bar
            WHERE bar.instrument_id = instrument AND bar.interval_seconds = seconds AND bar.level_seconds = below
              AND bar.time >= from_time AND bar.time < to_time
            GROUP BY 4
            ON CONFLICT (instrument_id, interval_seconds, level_seconds, time) DO UPDATE SET
                first_time = excluded.first_time, open = excluded.open, high = excluded.high, low = excluded.low,
                close = excluded.close, volume = excluded.volume, n_bars = excluded.n_bars;
        END IF;
        below := level;
    END LOOP;
END
$$
"""


class Migration(migrations.Migration):
    dependencies = [("marketdata", "0003_data_room")]

    operations = [
        CreateHypertable("tick", "1 day"),
        CreateHypertable("chartbar", "1 year"),
        # Nobody asks for bars of a time without saying of which instrument, and an index on time alone tempts the
        # planner to walk through every bar there is when it looks for the newest of a series that has none.
        migrations.RunSQL(
            "DROP INDEX IF EXISTS marketdata_bar_time_idx",
            "CREATE INDEX IF NOT EXISTS marketdata_bar_time_idx ON marketdata_bar (time DESC)",
        ),
        migrations.RunSQL(
            REFRESH_LEVELS, "DROP FUNCTION marketdata_refresh_levels(bigint, int, int[], bigint, bigint)"
        ),
    ]
