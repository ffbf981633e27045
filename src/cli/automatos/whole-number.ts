import { CliError } from './cli-error.ts'

/** For an option that takes a whole number from 1 on: anything else is said before a request is made of it. */
export const wholeNumber =
  (option: string) =>
  (text: string): number => {
    if (!/^[1-9]\d{0,14}$/.test(text)) throw new CliError(`${option} takes a whole number from 1 on, not ${text}.`)
    return Number(text)
  }
