/** The issuer of persons whom an invitation made, where there is no identity provider. No token has it: those name a URL. */
export const byInvitation = 'automatos:invitation'
