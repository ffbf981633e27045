export { joinByInvitation, redeemInvitation } from './team/accept.ts'
export {
  defaultDays,
  getInvitation,
  invitationTag,
  inviteMember,
  listInvitations,
  resendInvitation,
  revokeInvitation,
} from './team/invitations.ts'
export {
  changeMemberRole,
  getMember,
  leaveTeam,
  listMembers,
  memberTag,
  removeMember,
  transferOwnership,
} from './team/members.ts'
export { createRole, deleteRole, getRole, listRoles, roleTag, updateRole } from './team/roles.ts'
