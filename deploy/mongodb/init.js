// Makes the replica set, the roles and the product's users; run again it brings roles and passwords up to date.
// Run by `mongosh --nodb`, with MONGODB_HOST and the passwords in the environment; prints names only.
"use strict";

const fs = require("node:fs");
const path = require("node:path");

const REPLICA_SET = "rs0";
const EXISTS = { Role: 51002, User: 51003 };
const NOT_YET_INITIALIZED = 94;
const SECONDS = 60;

function required(name) {
  const value = process.env[name];
  if (!value) {
    throw new Error(`${name} is not set`);
  }
  return value;
}

const host = required("MONGODB_HOST");
const database = required("MONGODB_DATABASE");
const vault = required("MONGODB_VAULT_DATABASE");

function administrator() {
  const password = encodeURIComponent(required("MONGODB_ROOT_PASSWORD"));
  const url = `mongodb://root:${password}@${host}/admin?directConnection=true&serverSelectionTimeoutMS=5000`;
  return new Mongo(url).getDB("admin");
}

function makeReplicaSet() {
  const admin = administrator();
  try {
    admin.adminCommand({ replSetGetStatus: 1 });
  } catch (error) {
    if (error.code !== NOT_YET_INITIALIZED) {
      throw error;
    }
    admin.adminCommand({ replSetInitiate: { _id: REPLICA_SET, members: [{ _id: 0, host }] } });
    print(`made the replica set ${REPLICA_SET}`);
  }
  const giveUp = Date.now() + SECONDS * 1000;
  while (!admin.adminCommand({ hello: 1 }).isWritablePrimary) {
    if (Date.now() > giveUp) {
      throw new Error(`no primary after ${SECONDS} s`);
    }
    sleep(200);
  }
}

function createOrUpdate(admin, kind, name, body) {
  try {
    admin.runCommand({ [`create${kind}`]: name, ...body });
  } catch (error) {
    if (error.code !== EXISTS[kind]) {
      throw error;
    }
    admin.runCommand({ [`update${kind}`]: name, ...body });
  }
  print(`${kind.toLowerCase()} ${name} is up to date`);
}

function privileges(grants, role) {
  const databases = { data: database, vault };
  const usual = role === "vault" ? "vault" : "data";
  return grants.flatMap(({ collections, actions, of = usual }) =>
    collections.map((collection) => ({ resource: { db: databases[of], collection }, actions })),
  );
}

makeReplicaSet();
// A connection older than the replica set never learns to use sessions.
const admin = administrator();
const roles = JSON.parse(fs.readFileSync(path.join(__dirname, "roles.json"), "utf8"));
for (const [role, grants] of Object.entries(roles)) {
  const body = { privileges: privileges(grants, role), roles: [] };
  createOrUpdate(admin, "Role", role, body);
  createOrUpdate(admin, "User", role, { pwd: required(`MONGODB_${role.toUpperCase()}_PASSWORD`), roles: [role] });
}
createOrUpdate(admin, "User", "owner", {
  pwd: required("MONGODB_OWNER_PASSWORD"),
  roles: [database, vault].flatMap((db) => [{ role: "readWrite", db }, { role: "dbAdmin", db }]),
});
