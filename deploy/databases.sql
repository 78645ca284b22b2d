-- Run by the image of PostgreSQL when its volume is new: a database and a role for each service.
-- No role can connect to a database that is not its own.

SET log_min_error_statement = 'panic'; -- a statement that fails is not logged with its password
\set auth_server_password `cat /run/secrets/auth_server_database_password`
\set resource_server_password `cat /run/secrets/resource_server_database_password`
\set client_service_password `cat /run/secrets/client_service_database_password`

CREATE ROLE auth_server LOGIN PASSWORD :'auth_server_password';
CREATE ROLE resource_server LOGIN PASSWORD :'resource_server_password';
CREATE ROLE client_service LOGIN PASSWORD :'client_service_password';

-- What another holds is waited for as long as on SQLite; a client that vanished within its
-- transaction holds nothing for long.
ALTER ROLE auth_server SET lock_timeout = '10s';
ALTER ROLE resource_server SET lock_timeout = '10s';
ALTER ROLE client_service SET lock_timeout = '10s';
ALTER ROLE auth_server SET idle_in_transaction_session_timeout = '30s';
ALTER ROLE resource_server SET idle_in_transaction_session_timeout = '30s';
ALTER ROLE client_service SET idle_in_transaction_session_timeout = '30s';

CREATE DATABASE auth_server OWNER auth_server;
CREATE DATABASE resource_server OWNER resource_server;
CREATE DATABASE client_service OWNER client_service;

REVOKE CONNECT, TEMPORARY
    ON DATABASE auth_server, resource_server, client_service, postgres, template1
    FROM PUBLIC;
