-- The login and database of the Dagster instance: runs, events, schedules. It sees neither source nor scores.
-- Run as an administrator. Set the password afterwards, where no history keeps it: \password elv_dagster
CREATE ROLE elv_dagster LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
CREATE DATABASE elv_dagster OWNER elv_dagster ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE elv_dagster FROM PUBLIC;
