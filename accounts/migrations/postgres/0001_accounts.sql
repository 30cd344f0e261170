-- Times are in milliseconds since 1970-01-01 UTC. What is compared without case is kept in lower case
-- beside what was entered.
CREATE TABLE users (
    id                    BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    student_id            TEXT    NOT NULL UNIQUE,
    user_name             TEXT    NOT NULL,
    user_name_folded      TEXT    NOT NULL UNIQUE,
    email                 TEXT    NOT NULL,
    email_folded          TEXT    NOT NULL UNIQUE,
    password_hash         TEXT    NOT NULL,
    role                  TEXT    NOT NULL CHECK (role IN ('customer', 'admin')),
    active                BIGINT  NOT NULL CHECK (active IN (0, 1)),
    generation            BIGINT  NOT NULL,
    generation_raised_at  BIGINT  NOT NULL,
    created_at            BIGINT  NOT NULL
);

CREATE INDEX users_generation_raised_at ON users (generation_raised_at);

-- The refresh tokens of all sessions, spent ones too: a session is a family of tokens.
CREATE TABLE refresh_tokens (
    digest      BYTEA   PRIMARY KEY,
    family      TEXT    NOT NULL,
    user_id     BIGINT  NOT NULL REFERENCES users (id),
    generation  BIGINT  NOT NULL,
    expires_at  BIGINT  NOT NULL,
    spent_at    BIGINT
);

CREATE INDEX refresh_tokens_family ON refresh_tokens (family);
CREATE INDEX refresh_tokens_user_id ON refresh_tokens (user_id);
CREATE INDEX refresh_tokens_expires_at ON refresh_tokens (expires_at);
