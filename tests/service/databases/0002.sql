BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE cifar_tune_busy_slots (
	at FLOAT NOT NULL, 
	busy INTEGER NOT NULL, 
	PRIMARY KEY (at)
);
CREATE TABLE cifar_tune_counters (
	name VARCHAR(40) NOT NULL, 
	value BIGINT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "cifar_tune_counters" VALUES('events',5);
CREATE TABLE cifar_tune_events (
	id BIGINT NOT NULL, 
	at FLOAT NOT NULL, 
	actor VARCHAR(100) NOT NULL, 
	action VARCHAR(40) NOT NULL, 
	target VARCHAR(100), 
	outcome VARCHAR(16) NOT NULL, 
	detail JSON NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "cifar_tune_events" VALUES(1,1.79591109902049469951e+09,'root','token.create','anna','done','{"role": "editor", "expires_at": null, "token": 1}');
INSERT INTO "cifar_tune_events" VALUES(2,1.79591109903290295597e+09,'root','owner.set','anna','done','{"slots": 3}');
INSERT INTO "cifar_tune_events" VALUES(3,1.79591109909143519397e+09,'anna','submit','earlier','done','{"file": "study.yaml", "submission": 1, "priority": 0, "workers": null}');
INSERT INTO "cifar_tune_events" VALUES(4,1.79591109912039947511e+09,'anna','submit','later','done','{"file": "study.yaml", "submission": 2, "priority": 0, "workers": null}');
INSERT INTO "cifar_tune_events" VALUES(5,1795911099.13396,'anna','pause','later','done','{"submission": 2}');
CREATE TABLE cifar_tune_leases (
	study VARCHAR(100) NOT NULL, 
	token VARCHAR(32) NOT NULL, 
	host VARCHAR(255) NOT NULL, 
	pid INTEGER NOT NULL, 
	process_started VARCHAR(64) NOT NULL, 
	expires FLOAT NOT NULL, 
	PRIMARY KEY (study)
);
INSERT INTO "cifar_tune_leases" VALUES('made','12977afaa4474c7a836f61b2cfd6567f','lab1',22310,'258905',1.79591115915767383579e+09);
CREATE TABLE cifar_tune_names (
	study VARCHAR(100) NOT NULL, 
	owner VARCHAR(100) NOT NULL, 
	since FLOAT NOT NULL, 
	PRIMARY KEY (study)
);
INSERT INTO "cifar_tune_names" VALUES('earlier','anna',1.79591109906802129749e+09);
INSERT INTO "cifar_tune_names" VALUES('later','anna',1.7959110991187169551e+09);
CREATE TABLE cifar_tune_owners (
	name VARCHAR(100) NOT NULL, 
	weight FLOAT, 
	slots INTEGER, 
	queued INTEGER, 
	trials INTEGER, 
	PRIMARY KEY (name)
);
INSERT INTO "cifar_tune_owners" VALUES('anna',NULL,3,NULL,NULL);
CREATE TABLE cifar_tune_schema (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT cifar_tune_schema_pkc PRIMARY KEY (version_num)
);
INSERT INTO "cifar_tune_schema" VALUES('0002');
CREATE TABLE cifar_tune_servers (
	lease VARCHAR(32) NOT NULL, 
	address TEXT NOT NULL, 
	PRIMARY KEY (lease)
);
CREATE TABLE cifar_tune_sessions (
	sha256 VARCHAR(64) NOT NULL, 
	token INTEGER NOT NULL, 
	created_at FLOAT NOT NULL, 
	expires_at FLOAT NOT NULL, 
	PRIMARY KEY (sha256), 
	FOREIGN KEY(token) REFERENCES cifar_tune_tokens (id)
);
CREATE TABLE cifar_tune_submissions (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	study VARCHAR(100) NOT NULL, 
	living VARCHAR(100), 
	owner VARCHAR(100) NOT NULL, 
	file TEXT NOT NULL, 
	folder TEXT, 
	text TEXT NOT NULL, 
	priority INTEGER NOT NULL, 
	workers INTEGER, 
	trials INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	wanted VARCHAR(16) NOT NULL, 
	submitted_at FLOAT NOT NULL, 
	waiting_since FLOAT NOT NULL, 
	started_at FLOAT, 
	ended_at FLOAT, 
	exit_code INTEGER, 
	message TEXT, 
	device_seconds FLOAT NOT NULL, 
	deaths INTEGER NOT NULL, 
	notify JSON NOT NULL, 
	waits TEXT, 
	position INTEGER, 
	UNIQUE (living)
);
INSERT INTO "cifar_tune_submissions" VALUES(1,'earlier','earlier','anna','study.yaml',NULL,'name: earlier
budget: {trials: 3}
sampler: {name: random, seed: 1}
data: {name: digits, val_size: 100, train_size: 100}
train: {model: cnn3, width: 4, epochs: 2, batch_size: 50}
search_space: {lr: {low: 1e-3, high: 1e-1, log: true}}
',0,NULL,3,'queued','run',1.79591109905624318125e+09,1.79591109905624365808e+09,NULL,NULL,NULL,NULL,0.0,0,'[]',NULL,NULL);
INSERT INTO "cifar_tune_submissions" VALUES(2,'later','later','anna','study.yaml',NULL,'name: later
budget: {trials: 3}
sampler: {name: random, seed: 1}
data: {name: digits, val_size: 100, train_size: 100}
train: {model: cnn3, width: 4, epochs: 2, batch_size: 50}
search_space:
  lr: {low: 0.001, high: 0.1, log: true}
',0,NULL,3,'paused','pause',1.79591109911254954338e+09,1.79591109911254978182e+09,NULL,NULL,NULL,NULL,0.0,0,'[]',NULL,NULL);
CREATE TABLE cifar_tune_tokens (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	sha256 VARCHAR(64) NOT NULL, 
	owner VARCHAR(100) NOT NULL, 
	role VARCHAR(16) NOT NULL, 
	label VARCHAR(100) NOT NULL, 
	created_by VARCHAR(100) NOT NULL, 
	created_at FLOAT NOT NULL, 
	expires_at FLOAT, 
	used_at FLOAT, 
	revoked_at FLOAT, 
	UNIQUE (sha256)
);
INSERT INTO "cifar_tune_tokens" VALUES(1,'7f953fe3e6f8ec0652419e0383a4179d06911c4d3ce2fc7c8fe21bf9c5417aef','anna','editor','laptop','root',1.79591109901853179927e+09,NULL,NULL,NULL);
CREATE TABLE cifar_tune_usage (
	owner VARCHAR(100) NOT NULL, 
	device_seconds FLOAT NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (owner)
);
CREATE TABLE cifar_tune_wishes (
	study VARCHAR(100) NOT NULL, 
	token VARCHAR(32) NOT NULL, 
	park INTEGER NOT NULL, 
	devices TEXT, 
	"by" VARCHAR(255) NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (study)
);
INSERT INTO "cifar_tune_wishes" VALUES('made','12977afaa4474c7a836f61b2cfd6567f',1,NULL,'anna on lab1',1.7959110991639592647e+09);
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'made');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MINIMIZE',1,0);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
CREATE INDEX ix_cifar_tune_submissions_owner ON cifar_tune_submissions (owner);
CREATE INDEX ix_cifar_tune_submissions_state ON cifar_tune_submissions (state);
CREATE INDEX ix_cifar_tune_submissions_study ON cifar_tune_submissions (study);
CREATE INDEX ix_cifar_tune_tokens_owner ON cifar_tune_tokens (owner);
CREATE INDEX ix_cifar_tune_sessions_token ON cifar_tune_sessions (token);
CREATE INDEX ix_cifar_tune_events_target ON cifar_tune_events (target);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('cifar_tune_tokens',1);
INSERT INTO "sqlite_sequence" VALUES('cifar_tune_submissions',2);
COMMIT;
