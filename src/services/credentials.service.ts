export { completeAuthorization, startAuthorization } from './credentials/authorize.ts'
export { credentialTag, getCredential, listCredentials, type Credential } from './credentials/credential.ts'
export { testCredential } from './credentials/test-credential.ts'
export { credentialTypeIds, credentialTypes } from './credentials/types.data.ts'
export { listCredentialUsage } from './credentials/usage.ts'
export {
  createCredential,
  deleteCredential,
  updateCredential,
  type CredentialChanges,
  type NewCredential,
} from './credentials/write.ts'
