/** How the value of --team is read: the name of a built-in team, or a file. */
import { parse as pathParts } from "node:path";
import { findTeam, parseTeam, type Team, teamNames } from "../team/teams.js";
import { readYaml } from "../yaml-file.js";

/** For help texts. */
export const teamHelp = `${teamNames.join(", ")}, or a JSON or YAML file of roles`;

/**
 * A built-in team by its name, else the one in a file (`./judge` is a file, `judge` a name).
 * @param n children per state of the roles that do not say
 * @throws InputError if there is neither, or the file holds none; it names the role and what is wrong with it
 */
export async function readTeam(given: string, n = 3): Promise<Team> {
  if (teamNames.includes(given)) return findTeam(given, n);
  return parseTeam(await readYaml(given, "team", teamNames), given, pathParts(given).name, n);
}
